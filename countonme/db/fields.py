"""Model fields for names and days, with the rules that serializers and the admin share.

A migration stores them as Django's own fields, because the rules change nothing in the database.
"""

import re
import unicodedata
from datetime import date

from django.core.exceptions import ValidationError
from django.db import models

DAYS = (date(1900, 1, 1), date(2199, 12, 31))

# The characters with the property Default_Ignorable_Code_Point (Unicode Standard Annex 44), and U+2800, a blank that
# has no such property.
IGNORABLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u2800\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)


def is_visible(character: str) -> bool:
    """Return whether a character shows on the screen: it is no space, control or format character, and not ignorable.

    A character that Python's version of Unicode doesn't have yet, such as a new emoji, counts as visible.
    """
    category = unicodedata.category(character)
    return category[0] != "Z" and category not in ("Cc", "Cf") and not IGNORABLE.match(character)


def validate_name(name: str) -> None:
    # NUL has an error of its own, and an empty name too.
    if name and "\0" not in name and not any(map(is_visible, name)):
        raise ValidationError("This name has no visible character.", code="invisible")


def validate_day(day: date) -> None:
    if not DAYS[0] <= day <= DAYS[1]:
        raise ValidationError(
            f"Must be between {DAYS[0]} and {DAYS[1]}. Does the phone use the Gregorian calendar?",
            code="day_out_of_range",
        )


def with_fields(fields: dict[str, models.Field]) -> type[models.Model]:
    """Return an abstract model with these fields: a base for models whose fields come from a list."""
    meta = type("Meta", (), {"abstract": True})
    return type("Fields", (models.Model,), {"__module__": __name__, "Meta": meta, **fields})


class NameField(models.CharField):
    """A name, which has at least one visible character."""

    default_validators = [validate_name]

    def deconstruct(self) -> tuple:
        name, _, args, kwargs = super().deconstruct()
        return name, "django.db.models.CharField", args, kwargs


class DayField(models.DateField):
    """A day that a person recorded something for. Rows from before this rule may have other days."""

    default_validators = [validate_day]

    def deconstruct(self) -> tuple:
        name, _, args, kwargs = super().deconstruct()
        return name, "django.db.models.DateField", args, kwargs
