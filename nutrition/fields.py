"""Limits of names, energy and nutrients, and the model field for nutrients."""

from django.db import models
from django.db.models import Q

from countonme.db.constraints import bounds, within
from nutrition.nutrients import NAMES_100G

NAME_LENGTH = (1, 100)  # characters; a check constraint enforces it, since SQLite ignores max_length
KCAL_100G = (0, 1000)
NUTRIENT_100G = (0, 100)  # grams
UNITS = ("g", "ml")


def nutrient_field(**kwargs) -> models.DecimalField:
    """Return a model field for grams of a nutrient per 100 g; null if unknown."""
    shape = {"max_digits": 5, "decimal_places": 2, "null": True, "blank": True, "help_text": "g per 100 g."}
    return models.DecimalField(**shape, validators=bounds(NUTRIENT_100G), **kwargs)


def unit_field(**kwargs) -> models.CharField:
    """Return a model field for the unit in which a food is measured. Rows from before this column have `g`."""
    shape = {"max_length": 2, "choices": [(unit, unit) for unit in UNITS], "default": "g", "db_default": "g"}
    return models.CharField(**shape, help_text='What "100 g" and "grams" mean. It changes no arithmetic.', **kwargs)


def label_constraints() -> list[models.CheckConstraint]:
    """Return the bounds of energy and of each nutrient per 100 g, and the units."""
    return [
        within("kcal_100g", KCAL_100G),
        *(within(name, NUTRIENT_100G) for name in NAMES_100G),
        models.CheckConstraint(condition=Q(unit__in=UNITS), name="%(class)s_unit_is_known"),
    ]
