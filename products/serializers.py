from drf_spectacular.utils import OpenApiExample, extend_schema_serializer
from rest_framework import serializers

from countonme.api.fields import FlagField, IdField, NewIdField, QueryFlagField, TextField
from countonme.api.pagination import PageQuery
from nutrition.gtin import GTIN_VALIDATORS
from nutrition.nutrients import NAMES_100G
from ownership.serializers import OwnedSerializer
from products.models import Portion, Product, refuse_too_many

PORTIONS = "The default portion first, then by name. They can be sent with a new product."
CATALOG_FOOD = "The food of the catalogue that it was copied from."
PORTION = {
    "id": "5b0f7c7a-0c57-4b9c-8d0a-2f5d6c3a9b21",
    "product_id": "7f1c2f6e-61a5-4a6a-9d55-0a3f0c5f8e10",
    "name": "Slice",
    "grams": 35.5,
    "is_default": True,
    "created_at": "2026-01-05T07:30:00.123456Z",
    "updated_at": None,
}
PRODUCT = {
    "id": PORTION["product_id"],
    "name": "Rye bread",
    "brand": "Mill & Oven",
    "kcal_100g": 259,
    **dict.fromkeys(NAMES_100G),
    "protein_100g": 8.5,
    "carbs_100g": 48.3,
    "fat_100g": 3.3,
    "sugars_100g": 3.9,
    "unit": "g",
    "barcode": "4006381333931",
    "is_favorite": True,
    "catalog_food_id": None,
    "portions": [PORTION],
    "created_at": "2026-01-05T07:30:00.123455Z",
    "updated_at": None,
}


@extend_schema_serializer(
    examples=[
        OpenApiExample("Stored", PORTION, response_only=True),
        OpenApiExample("Sent", {"name": "Slice", "grams": 35.5, "is_default": True}, request_only=True),
    ]
)
class PortionSerializer(OwnedSerializer):
    """A named amount of a product, such as a slice of 35 g."""

    product_id = IdField(read_only=True)
    is_default = FlagField(required=False, help_text="If set, the current default portion is no longer the default.")

    class Meta:
        model = Portion
        fields = ("id", "product_id", "name", "grams", "is_default", "created_at", "updated_at")
        read_only_fields = ("created_at", "updated_at")


class PortionsField(serializers.ListSerializer):
    """The portions of a new product. Too many are refused before they are validated."""

    def to_internal_value(self, data) -> list[dict]:
        refuse_too_many(len(data) if isinstance(data, list) else 0)
        return super().to_internal_value(data)


@extend_schema_serializer(
    examples=[
        OpenApiExample("Stored", PRODUCT, response_only=True),
        OpenApiExample(
            "Sent",
            {"name": "Rye bread", "kcal_100g": 259, "protein_100g": 8.5, "barcode": "4006381333931"},
            request_only=True,
        ),
    ]
)
class ProductSerializer(OwnedSerializer):
    """A food, with the values per 100 g from its label."""

    optional_in_schema = ("name", "kcal_100g")  # they can be copied from the catalogue

    catalog_food_id = NewIdField(required=False, allow_null=True, help_text=CATALOG_FOOD)
    portions = PortionsField(child=PortionSerializer(), required=False, help_text=PORTIONS)

    class Meta:
        model = Product
        fields = (
            "id",
            "name",
            "brand",
            "kcal_100g",
            *NAMES_100G,
            "unit",
            "barcode",
            "is_favorite",
            "catalog_food_id",
            "portions",
            "created_at",
            "updated_at",
        )
        read_only_fields = ("created_at", "updated_at")
        extra_kwargs = {  # a product without them has null
            "brand": {"allow_blank": False},
            "barcode": {"allow_blank": False},
        }

    def get_fields(self) -> dict:
        fields = super().get_fields()
        if self.partial:  # the portions of a stored product have calls of their own
            fields.pop("portions", None)
        return fields


class ProductQuery(PageQuery):
    search = TextField(required=False, allow_blank=True, help_text="Words or parts of the name or brand, in any order.")
    barcode = TextField(required=False, validators=GTIN_VALIDATORS, help_text="A GTIN or UPC-E, in any spelling.")
    favorite = QueryFlagField(required=False, help_text="Only favorites, or only the others.")
