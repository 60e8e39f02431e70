"""Serializer fields with strict JSON types: a number is not accepted as a string, nor a string as a number."""

import re
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from uuid import UUID

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from countonme.db.fields import validate_day

HUNDREDTH = Decimal("0.01")
NIL = UUID(int=0)
DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
TIME_OF_DAY = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\.[0-9]{3})?)?")
CANONICAL_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


def round_half_up(value: Decimal) -> Decimal:
    """Round half-up to 2 places."""
    return value.quantize(HUNDREDTH, rounding=ROUND_HALF_UP) + 0  # + 0: minus zero is zero


def parse_uuid(text) -> UUID | None:
    """Return the UUID if `text` is one with hyphens, in upper or lower case; else None."""
    if isinstance(text, str) and CANONICAL_UUID.fullmatch(text):
        return UUID(text)
    return None


def sent_uuid(sent, name: str) -> UUID | None:
    """Return the UUID in the field `name` of a parsed body. Return None if there is none, or the body is no object."""
    return parse_uuid(sent.get(name)) if isinstance(sent, dict) else None


def parse_time(text) -> str | None:
    """Return a time of day with milliseconds, `HH:MM:SS.mmm`. Return None if `text` is no time of day.

    In this form, times are sorted as texts, and read in the same form on every database.
    """
    if isinstance(text, str) and TIME_OF_DAY.fullmatch(text):
        return text + "00:00:00.000"[len(text) :]
    return None


def to_decimal(value) -> Decimal | None:
    """Return a JSON number as a Decimal. Return None for any other value, and for a number that no float can have."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    number = Decimal(str(value))
    return number if number.is_finite() else None


def is_roundable(value: Decimal) -> bool:
    """Return whether the value can be within the bounds of a field. Very large ones can't be rounded to 2 places."""
    return abs(value) < 10**12


def as_json_value(value):
    """Return the value of a column in the form that it has in JSON."""
    if isinstance(value, Decimal):
        return float(value)
    return value if value is None or isinstance(value, bool | int | float) else str(value)


class IdField(serializers.UUIDField):
    def to_internal_value(self, data):
        return parse_uuid(data) or self.fail("invalid", value=data)


class NewIdField(IdField):
    """An id that the client chooses. Many clients could send the nil UUID by mistake, and only one could use it."""

    default_error_messages = {"nil": "The nil UUID is not allowed."}

    def to_internal_value(self, data) -> UUID:
        row_id = super().to_internal_value(data)
        return self.fail("nil") if row_id == NIL else row_id


class TextField(serializers.CharField):
    def to_internal_value(self, data):
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class WholeNumberField(serializers.IntegerField):
    """A whole number. Decimals are rounded half-up before the bounds are checked."""

    default_error_messages = {"invalid": "A valid number is required."}

    def to_internal_value(self, data) -> int | Decimal:
        value = to_decimal(data)
        if value is None:
            self.fail("invalid")
        return int(value.to_integral_value(ROUND_HALF_UP)) if is_roundable(value) else value


class QueryNumberField(serializers.IntegerField):
    """An integer in the query string, written in plain digits."""

    def to_internal_value(self, data):
        if not re.fullmatch("-?[0-9]+", data):
            self.fail("invalid")
        return super().to_internal_value(data)


class AmountField(serializers.DecimalField):
    """A decimal with 2 places. Values are rounded half-up before the bounds are checked."""

    def validate_empty_values(self, data) -> tuple[bool, object]:
        return serializers.Field.validate_empty_values(self, data)  # DRF's takes "" for null

    def to_internal_value(self, data):
        value = to_decimal(data)
        if value is None:
            self.fail("invalid")
        return round_half_up(value) if is_roundable(value) else value

    def to_representation(self, value):
        return value


class FlagField(serializers.BooleanField):
    def to_internal_value(self, data):
        if not isinstance(data, bool):
            self.fail("invalid", input="This")
        return data


class QueryFlagField(serializers.BooleanField):
    """`true` or `false` in the query string."""

    default_error_messages = {"invalid": "Must be `true` or `false`."}
    TRUE_VALUES, FALSE_VALUES, NULL_VALUES = {"true"}, {"false"}, set()


class DayField(serializers.DateField):
    default_error_messages = {"invalid": "A date has the form YYYY-MM-DD.", "no_such_day": "There is no such day."}
    default_validators = [validate_day]

    def to_internal_value(self, value):
        if not (isinstance(value, str) and DAY.fullmatch(value)):
            self.fail("invalid")
        try:
            return date.fromisoformat(value)
        except ValueError:
            self.fail("no_such_day")


@extend_schema_field({"type": "string", "pattern": f"^{TIME_OF_DAY.pattern}$"})
class TimeOfDayField(serializers.Field):
    """A time of day: `HH:MM`, `HH:MM:SS` or `HH:MM:SS.mmm`. The value is a text with milliseconds."""

    default_error_messages = {"invalid": "A time has the form HH:MM, HH:MM:SS or HH:MM:SS.mmm."}

    def to_internal_value(self, data) -> str:
        return parse_time(data) or self.fail("invalid")

    def to_representation(self, value) -> str:
        return value


class OneOfField(serializers.ChoiceField):
    """A choice whose error message lists the choices. It doesn't quote the input, which may not be valid Unicode."""

    def __init__(self, choices, **kwargs):
        super().__init__(choices, **kwargs)
        self.error_messages["invalid_choice"] = f"Must be one of: {', '.join(self.choices)}."

    def to_internal_value(self, data):
        if not isinstance(data, str):
            self.fail("invalid_choice")
        return super().to_internal_value(data)
