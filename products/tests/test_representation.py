import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

from ownership.etags import REPRESENTATION
from ownership.models import change_set
from products.models import Portion, Product
from products.tests.factories import ProductFactory

PORTION = """\
{
  "created_at": "2026-01-05T07:30:00.123456Z",
  "grams": 100.0,
  "id": "5b0f7c7a-0c57-4b9c-8d0a-2f5d6c3a9b21",
  "is_default": true,
  "name": "100g",
  "product_id": "7f1c2f6e-61a5-4a6a-9d55-0a3f0c5f8e10",
  "updated_at": "2026-01-06T00:00:00.000000Z"
}"""
PRODUCT = """\
{
  "barcode": "4006381333931",
  "brand": "Mill & Oven",
  "carbs_100g": 48.25,
  "catalog_food_id": "0e2d4c6b-8a1f-4b3d-9e5c-7f6a8b0c2d4e",
  "created_at": "2026-01-05T07:30:00.123455Z",
  "fat_100g": null,
  "fiber_100g": 5.8,
  "id": "7f1c2f6e-61a5-4a6a-9d55-0a3f0c5f8e10",
  "is_favorite": true,
  "kcal_100g": 259,
  "name": "Rye \\ud83c\\udf5e",
  "portions": [
    {
      "created_at": "2026-01-05T07:30:00.123456Z",
      "grams": 100.0,
      "id": "5b0f7c7a-0c57-4b9c-8d0a-2f5d6c3a9b21",
      "is_default": true,
      "name": "100g",
      "product_id": "7f1c2f6e-61a5-4a6a-9d55-0a3f0c5f8e10",
      "updated_at": "2026-01-06T00:00:00.000000Z"
    }
  ],
  "protein_100g": 0.1,
  "salt_100g": 1.51,
  "saturated_fat_100g": null,
  "sugars_100g": 0.0,
  "unit": "ml",
  "updated_at": null
}"""
VERSION = 6

CHANGED = (
    "The JSON of responses has changed. Increase ownership.etags.REPRESENTATION, so that clients don't keep the old "
    "JSON, and update VERSION and the JSON in this file."
)


def text(response) -> str:
    assert response.status_code == 200
    return json.dumps(response.json(), indent=2, sort_keys=True)


class TestTheRepresentation:
    def test_of_a_product_and_a_portion_is_exactly_this_json(self, api, device):
        at = datetime(2026, 1, 5, 7, 30, 0, 123455, tzinfo=UTC)
        product = ProductFactory(
            id=UUID("7f1c2f6e-61a5-4a6a-9d55-0a3f0c5f8e10"),
            device=device,
            name="Rye 🍞",
            kcal_100g=259,
            protein_100g=Decimal("0.10"),
            carbs_100g=Decimal("48.25"),
            fat_100g=None,
            sugars_100g=Decimal(0),
            fiber_100g=Decimal("5.80"),
            salt_100g=Decimal("1.51"),
            barcode="4006381333931",
            brand="Mill & Oven",
            unit="ml",
            is_favorite=True,
            catalog_food_id=UUID("0e2d4c6b-8a1f-4b3d-9e5c-7f6a8b0c2d4e"),
        )
        with change_set(device):
            Product.objects.for_device(device).update(created_at=at, updated_at=None)
            Portion.objects.for_device(device).update(
                id=UUID("5b0f7c7a-0c57-4b9c-8d0a-2f5d6c3a9b21"),
                created_at=at + timedelta(microseconds=1),
                updated_at=datetime(2026, 1, 6, tzinfo=UTC),
            )

        one = text(api.get(f"/v1/products/{product.pk}"))
        portion = text(api.get("/v1/portions/5b0f7c7a-0c57-4b9c-8d0a-2f5d6c3a9b21"))

        assert (one, portion, REPRESENTATION) == (PRODUCT, PORTION, VERSION), CHANGED
        assert api.get("/v1/products").json() == [json.loads(PRODUCT)]
        assert api.get(f"/v1/products/{product.pk}/portions").json() == [json.loads(PORTION)]
