"""Barcodes: GTINs (Global Trade Item Numbers) and UPC-E, in Python and in SQL.

The rules are in the GS1 General Specifications: check digits in section 7.9, UPC-E in section 5.2.2.4.
"""

import re

from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db.models import BooleanField, Func

GTIN = re.compile(r"[0-9]{8}|[0-9]{12,14}")
UPC_E = re.compile(r"[01][0-9]{7}")


def check_digit(digits: str) -> int:
    """Return the check digit for `digits`, which are all digits of a GTIN but the last.

    The weights of the digits are 3, 1, 3, …, from the right. The check digit makes the weighted sum a multiple of 10.
    """
    backwards = digits[::-1]
    return -(3 * sum(map(int, backwards[::2])) + sum(map(int, backwards[1::2]))) % 10


def has_check_digit(gtin: str) -> bool:
    """Return whether the last digit of a GTIN of any length is its check digit."""
    return check_digit(gtin[:-1]) == int(gtin[-1])


def expand_upc_e(code: str) -> str:
    """Return the GTIN-12 that a UPC-E of 8 digits is short for.

    UPC-E leaves out zeros. The digit before the check digit says where they were.
    """
    system, a, b, c, d, e, last, check = code
    if last in "012":
        item = a + b + last + "0000" + c + d + e
    elif last == "3":
        item = a + b + c + "00000" + d + e
    elif last == "4":
        item = a + b + c + d + "00000" + e
    else:
        item = a + b + c + d + e + "0000" + last
    return system + item + check


def is_upc_e(barcode: str) -> bool:
    """Return whether a barcode is a UPC-E. A code that is also a GTIN-8 counts as a UPC-E."""
    return UPC_E.fullmatch(barcode) is not None and has_check_digit(expand_upc_e(barcode))


def barcode_number(barcode: str) -> int:
    """Return the number of a valid barcode, by which barcodes are compared: its GTIN-14 without leading zeros."""
    return int(expand_upc_e(barcode) if is_upc_e(barcode) else barcode)


def is_barcode(text: str) -> bool:
    """Return whether a text is a GTIN or a UPC-E, with its check digit."""
    return GTIN.fullmatch(text) is not None and (has_check_digit(text) or is_upc_e(text))


def validate_check_digit(value: str) -> None:
    if GTIN.fullmatch(value) and not is_barcode(value):
        raise ValidationError("The barcode's check digit is wrong.", code="check_digit")


GTIN_VALIDATORS = [
    RegexValidator(rf"^({GTIN.pattern})\Z", "A barcode has 8, 12, 13 or 14 digits.", "invalid"),
    validate_check_digit,
]


def weighted_sum(*weights: int) -> str:
    """Return the SQL of the weighted sum of a number's digits. `weights` are from the right."""
    return " + ".join(f"CAST(number AS bigint) / {10**n} %% 10 * {weight}" for n, weight in enumerate(weights))


class IsGtin(Func):
    """SQL expression for check constraints: whether a text is a GTIN. The SQL is the same on both databases."""

    output_field = BooleanField()
    # The weights are those of check_digit(), and 1 for the check digit itself.
    # Test for digits first: on PostgreSQL, the cast of any other text is an error.
    sql = (
        "CASE WHEN LENGTH(number) IN (8, 12, 13, 14) AND LTRIM(number, '0123456789') = ''"
        f" THEN ({weighted_sum(*(1, 3) * 7)}) %% 10 = 0 ELSE false END"
    )

    def as_sql(self, compiler, connection, **kwargs) -> tuple[str, list]:
        number, params = compiler.compile(*self.get_source_expressions())
        return self.sql.replace("number", number), [*params] * self.sql.count("number")


class IsUpcE(IsGtin):
    """SQL expression for check constraints: whether a text is a UPC-E that is not also a GTIN-8.

    The weights are those of the digits in the GTIN-12, as expand_upc_e() places them. If the digit before the check
    digit is 5 to 9, they are those of a GTIN-8.
    """

    sql = (
        "CASE WHEN LENGTH(number) = 8 AND LTRIM(number, '0123456789') = '' AND number < '2'"
        " THEN CASE SUBSTR(number, 7, 1)"
        f" WHEN '3' THEN ({weighted_sum(1, 0, 3, 1, 1, 3, 1, 3)}) %% 10 = 0"
        f" WHEN '4' THEN ({weighted_sum(1, 0, 3, 3, 1, 3, 1, 3)}) %% 10 = 0"
        f" ELSE SUBSTR(number, 7, 1) < '3' AND ({weighted_sum(1, 1, 3, 1, 3, 3, 1, 3)}) %% 10 = 0"
        " END ELSE false END"
    )
