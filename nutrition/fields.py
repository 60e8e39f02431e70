"""What the fields of foods have in common: the limits of names, energy and nutrients."""

from django.db import models

from countonme.db.constraints import bounds

NAME_LENGTH = (1, 100)  # characters; SQLite does not check the length of a column
KCAL_100G = (0, 1000)
NUTRIENT_100G = (0, 100)  # grams


def nutrient_field(**kwargs) -> models.DecimalField:
    """Grams of a nutrient in 100 g of a product, or null where nobody knows."""
    shape = {"max_digits": 5, "decimal_places": 2, "null": True, "blank": True, "help_text": "g per 100 g."}
    return models.DecimalField(**shape, validators=bounds(NUTRIENT_100G), **kwargs)
