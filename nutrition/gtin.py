"""Global Trade Item Numbers, the numbers under a barcode."""

import re

from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db.models import BooleanField, Func

GTIN = re.compile(r"[0-9]{8}|[0-9]{12,14}")


def check_digit(digits: str) -> int:
    """Return the check digit that belongs behind `digits`.

    Source: GS1 General Specifications, section 7.9: from the right, the digits weigh 3, 1, 3, …; the check digit
    lifts the sum to a multiple of 10.
    """
    total = sum(int(digit) * (3, 1)[place % 2] for place, digit in enumerate(reversed(digits)))
    return -total % 10


def validate_check_digit(value: str) -> None:
    if GTIN.fullmatch(value) and check_digit(value[:-1]) != int(value[-1]):
        raise ValidationError("The barcode's check digit is wrong.", code="check_digit")


GTIN_VALIDATORS = [
    RegexValidator(rf"^({GTIN.pattern})\Z", "A barcode has 8, 12, 13 or 14 digits.", "invalid"),
    validate_check_digit,
]


# From the right, as above; the check digit weighs 1.
WEIGHED = " + ".join(f"CAST(number AS bigint) / {10**place} %% 10 * {(1, 3)[place % 2]}" for place in range(14))


class IsGtin(Func):
    """The database's own word on a column, in SQL that is the same on both: the right length, digits, check digit."""

    output_field = BooleanField()
    # PostgreSQL can't cast what is no number, so that comes first.
    sql = (
        "CASE WHEN LENGTH(number) IN (8, 12, 13, 14) AND LTRIM(number, '0123456789') = ''"
        f" THEN ({WEIGHED}) %% 10 = 0 ELSE false END"
    )

    def as_sql(self, compiler, connection, **kwargs) -> tuple[str, list]:
        number, params = compiler.compile(*self.get_source_expressions())
        return self.sql.replace("number", number), [*params] * self.sql.count("number")
