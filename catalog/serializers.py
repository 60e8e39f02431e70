from django.core.validators import RegexValidator
from drf_spectacular.utils import OpenApiExample, extend_schema_serializer
from rest_framework import serializers

from catalog.food import food_id
from catalog.sources import USDA
from countonme.api.fields import QueryNumberField, TextField
from countonme.api.pagination import PageQuery
from nutrition.gtin import GTIN_VALIDATORS
from nutrition.nutrients import NAMES_100G

MAX_LIMIT = 50
MAX_OFFSET = 200

FOOD = {
    "id": str(food_id(USDA.name, "09040")),
    "name": "Bananas, raw",
    "brand": None,
    "lang": "en",
    "barcode": None,
    "unit": "g",
    "kcal_100g": 89,
    "protein_100g": 1.09,
    "carbs_100g": 22.84,
    "fat_100g": 0.33,
    "sugars_100g": 12.23,
    "saturated_fat_100g": 0.11,
    "fiber_100g": 2.6,
    "salt_100g": 0.0,
    "portions": [
        {"name": "cup, mashed", "grams": 225.0, "is_default": True},
        {"name": "cup, sliced", "grams": 150.0, "is_default": False},
    ],
    "source": USDA.name,
    "source_id": "09040",
    "source_url": USDA.url,
    "license": USDA.license,
    "attribution": USDA.attribution,
    "withdrawn": False,
    "updated_at": "2026-01-05T07:30:00.123456Z",
}
SOURCE = {
    "source": USDA.name,
    "license": USDA.license,
    "attribution": USDA.attribution,
    "url": USDA.url,
    "foods": 8789,
    "release": 1,
    "imported_at": "2026-01-05T07:30:00.123456Z",
}
BUNDLE = {
    "source": USDA.name,
    "release": 1,
    "license": USDA.license,
    "attribution": USDA.attribution,
    "count": 8789,
    "size": 700_000,
    "published_at": "2026-01-05T07:30:00.123456Z",
}


@extend_schema_serializer(component_name="CatalogPortion")
class PortionSerializer(serializers.Serializer):
    name = serializers.CharField()
    grams = serializers.FloatField(help_text="g, or ml if that is the unit of the food.")
    is_default = serializers.BooleanField()


def nutrient() -> serializers.FloatField:
    return serializers.FloatField(allow_null=True, help_text="g in 100 g or 100 ml. `null` if unknown.")


NutrientSerializer = type("NutrientSerializer", (serializers.Serializer,), {name: nutrient() for name in NAMES_100G})


@extend_schema_serializer(
    component_name="CatalogFood", examples=[OpenApiExample("A food of the USDA", FOOD, response_only=True)]
)
class FoodSerializer(NutrientSerializer):
    """A food of the catalogue, with values per 100 g or 100 ml."""

    id = serializers.UUIDField(help_text="The same on every server.")
    name = serializers.CharField()
    brand = serializers.CharField(allow_null=True)
    lang = serializers.CharField(allow_null=True, help_text="The language of the name: `en`.")
    barcode = serializers.CharField(allow_null=True, help_text="A GTIN, always with 14 digits.")
    unit = serializers.CharField(help_text="`g` or `ml`: what 100 and the grams of portions mean.")
    kcal_100g = serializers.IntegerField()
    portions = PortionSerializer(many=True, help_text="The default first. Empty if there are none.")
    source = serializers.CharField(help_text="`usda` or `off`.")
    source_id = serializers.CharField()
    source_url = serializers.URLField(help_text="A page of the source, for the attribution.")
    license = serializers.CharField(help_text="An SPDX identifier.")
    attribution = serializers.CharField(help_text="The text that an app must show.")
    withdrawn = serializers.BooleanField(help_text="Whether the source no longer has the food.")
    updated_at = serializers.DateTimeField(help_text="When an import last changed it.")


@extend_schema_serializer(
    component_name="CatalogSource", examples=[OpenApiExample("The USDA", SOURCE, response_only=True)]
)
class SourceSerializer(serializers.Serializer):
    """A source of foods, and what its license requires to show."""

    source = serializers.CharField(help_text="`usda` or `off`.")
    license = serializers.CharField(help_text="An SPDX identifier.")
    attribution = serializers.CharField(help_text="The text that an app must show.")
    url = serializers.URLField()
    foods = serializers.IntegerField()
    release = serializers.IntegerField(help_text="The number of the latest import.")
    imported_at = serializers.DateTimeField()


@extend_schema_serializer(
    component_name="CatalogBundle", examples=[OpenApiExample("Of the USDA", BUNDLE, response_only=True)]
)
class BundleSerializer(serializers.Serializer):
    """A file with the foods of a source."""

    source = serializers.CharField(help_text="`usda` or `off`.")
    release = serializers.IntegerField(help_text="The number of the import that made it.")
    license = serializers.CharField(help_text="An SPDX identifier.")
    attribution = serializers.CharField(help_text="The text that an app must show.")
    count = serializers.IntegerField(help_text="Foods.")
    size = serializers.IntegerField(help_text="Bytes.")
    published_at = serializers.DateTimeField()


class FoodQuery(PageQuery):
    search = TextField(
        required=False,
        allow_blank=True,  # with a barcode
        max_length=100,
        help_text="Words of a name. The last one may be incomplete.",
    )
    lang = TextField(
        required=False,
        validators=[RegexValidator(r"^[a-z]{2,3}\Z", "A language has 2 or 3 lower-case letters: `de`.")],
        help_text="The language that the user prefers.",
    )
    barcode = TextField(
        required=False, validators=GTIN_VALIDATORS, help_text="A GTIN or UPC-E, in any spelling, instead of `search`."
    )
    limit = QueryNumberField(min_value=1, max_value=MAX_LIMIT, default=20, help_text="Foods per page.")
    offset = QueryNumberField(min_value=0, max_value=MAX_OFFSET, default=0, help_text="Foods to skip.")

    def validate(self, values: dict) -> dict:
        if "barcode" not in values and not values.get("search"):
            code = "blank" if "search" in values else "required"
            raise serializers.ValidationError({"search": [self.fields["search"].error_messages[code]]}, code)
        return values
