from drf_spectacular.utils import OpenApiExample, extend_schema_serializer

from countonme.api.fields import FlagField, IdField, TextField
from countonme.api.pagination import PageQuery
from nutrition.gtin import GTIN_VALIDATORS
from ownership.serializers import OwnedSerializer
from products.models import Portion, Product

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
    "kcal_100g": 259,
    "protein_100g": 8.5,
    "carbs_100g": 48.3,
    "fat_100g": 3.3,
    "barcode": "4006381333931",
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

    portions = PortionSerializer(many=True, read_only=True, help_text="The default portion first, then by name.")

    class Meta:
        model = Product
        fields = (
            "id",
            "name",
            "kcal_100g",
            "protein_100g",
            "carbs_100g",
            "fat_100g",
            "barcode",
            "portions",
            "created_at",
            "updated_at",
        )
        read_only_fields = ("created_at", "updated_at")
        extra_kwargs = {"barcode": {"allow_blank": False}}  # a product without a barcode has null


class ProductQuery(PageQuery):
    search = TextField(required=False, allow_blank=True, help_text="Words or parts of a name, in any order.")
    barcode = TextField(required=False, validators=GTIN_VALIDATORS, help_text="A GTIN or UPC-E, in any spelling.")
