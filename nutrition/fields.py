"""Limits of names, energy and nutrients, and the model field for nutrients."""

from django.db import models

from countonme.db.constraints import bounds

NAME_LENGTH = (1, 100)  # characters; a check constraint enforces it, since SQLite ignores max_length
KCAL_100G = (0, 1000)
NUTRIENT_100G = (0, 100)  # grams


def nutrient_field(**kwargs) -> models.DecimalField:
    """Return a model field for grams of a nutrient per 100 g; null if unknown."""
    shape = {"max_digits": 5, "decimal_places": 2, "null": True, "blank": True, "help_text": "g per 100 g."}
    return models.DecimalField(**shape, validators=bounds(NUTRIENT_100G), **kwargs)
