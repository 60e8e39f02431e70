"""The nutrients of a food's label. Columns, constraints, serializers, sums and the admin follow from this list.

docs/architecture.md says how to add one.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Nutrient:
    """A nutrient, in grams. An entry has a column of this name, and `name_100g` has the amount in 100 g."""

    name: str
    # Whether the previous release has no such columns. It may change the weight of an entry, and leave the amount.
    is_new: bool = False

    @property
    def per_100g(self) -> str:
        return f"{self.name}_100g"

    @property
    def label(self) -> str:
        return self.name.replace("_", " ").capitalize()


NUTRIENTS = (
    Nutrient("protein"),
    Nutrient("carbs"),
    Nutrient("fat"),
    Nutrient("sugars", is_new=True),
    Nutrient("saturated_fat", is_new=True),
    Nutrient("fiber", is_new=True),
    Nutrient("salt", is_new=True),
)

NAMES = tuple(nutrient.name for nutrient in NUTRIENTS)
NAMES_100G = tuple(nutrient.per_100g for nutrient in NUTRIENTS)
PER_100G = {"kcal": "kcal_100g", **dict(zip(NAMES, NAMES_100G, strict=True))}
