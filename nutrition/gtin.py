"""Validate barcodes: GTINs (Global Trade Item Numbers), in Python and in SQL."""

import re

from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db.models import BooleanField, Func

GTIN = re.compile(r"[0-9]{8}|[0-9]{12,14}")


def check_digit(digits: str) -> int:
    """Return the check digit for `digits`, which are all digits of a GTIN but the last.

    The weights of the digits are 3, 1, 3, …, from the right. The check digit makes the weighted sum a multiple of 10
    (GS1 General Specifications, section 7.9).
    """
    total = sum(int(digit) * (3, 1)[position % 2] for position, digit in enumerate(reversed(digits)))
    return -total % 10


def validate_check_digit(value: str) -> None:
    if GTIN.fullmatch(value) and check_digit(value[:-1]) != int(value[-1]):
        raise ValidationError("The barcode's check digit is wrong.", code="check_digit")


GTIN_VALIDATORS = [
    RegexValidator(rf"^({GTIN.pattern})\Z", "A barcode has 8, 12, 13 or 14 digits.", "invalid"),
    validate_check_digit,
]


# The weights from the right, as above, but including the check digit, whose weight is 1.
WEIGHTED_SUM = " + ".join(f"CAST(number AS bigint) / {10**n} %% 10 * {(1, 3)[n % 2]}" for n in range(14))


class IsGtin(Func):
    """SQL expression for check constraints: whether a text is a GTIN. The SQL is the same on both databases."""

    output_field = BooleanField()
    # Test for digits first: on PostgreSQL, the cast of any other text is an error.
    sql = (
        "CASE WHEN LENGTH(number) IN (8, 12, 13, 14) AND LTRIM(number, '0123456789') = ''"
        f" THEN ({WEIGHTED_SUM}) %% 10 = 0 ELSE false END"
    )

    def as_sql(self, compiler, connection, **kwargs) -> tuple[str, list]:
        number, params = compiler.compile(*self.get_source_expressions())
        return self.sql.replace("number", number), [*params] * self.sql.count("number")
