"""Minimum and maximum of a field: validators, and check constraints in the database."""

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.db.models.functions import Length

models.CharField.register_lookup(Length)  # for `within("name__length", …)`


def bounds(limits: tuple) -> list:
    """Return validators for `(minimum, maximum)`. Serializers and the admin share them."""
    return [MinValueValidator(limits[0]), MaxValueValidator(limits[1])]


def within(field: str, limits: tuple) -> models.CheckConstraint:
    """Return a check constraint for the same limits."""
    condition = Q(**{f"{field}__gte": limits[0], f"{field}__lte": limits[1]})
    return models.CheckConstraint(condition=condition, name=f"%(class)s_{field}_within_bounds")
