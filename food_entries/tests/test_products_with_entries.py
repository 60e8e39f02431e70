"""Products and portions that have food entries."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.core.management import call_command
from django.utils import timezone

from countonme.api.errors import Conflict
from food_entries.tests.factories import FoodEntryFactory
from ownership.models import change_set
from products.models import Portion, Product
from products.tests.factories import PortionFactory, ProductFactory


class TestADeletedProduct:
    def test_keeps_the_food_entries_that_were_logged_with_it(self, api, device):
        product = ProductFactory(device=device)
        by_weight = FoodEntryFactory(product=product)
        by_portion = FoodEntryFactory(
            product=product, portion=product.portions.get(), quantity=Decimal(2), grams=product.portions.get().grams * 2
        )
        entries = [f"/v1/food-entries/{entry.pk}" for entry in (by_weight, by_portion)]
        before = [api.get(entry).json() for entry in entries]

        api.delete(f"/v1/products/{product.pk}")

        assert [api.get(entry).json() for entry in entries] == before
        assert [entry["product_id"] for entry in before] == [str(product.pk)] * 2
        assert len(api.get("/v1/food-entries").json()) == 2


class TestADeletedPortion:
    def test_keeps_the_food_entries_that_were_logged_with_it(self, api, device):
        portion = PortionFactory(device=device)
        entry = FoodEntryFactory(product=portion.product, portion=portion, quantity=Decimal(2), grams=Decimal(80))
        before = api.get(f"/v1/food-entries/{entry.pk}").json()

        response = api.delete(f"/v1/portions/{portion.pk}")

        assert response.status_code == 204
        assert before["portion_id"] == str(portion.pk)
        assert api.get(f"/v1/food-entries/{entry.pk}").json() == before


class TestARestore:
    def test_needs_a_tombstone(self, device):
        entry = FoodEntryFactory(device=device)

        for row in (entry, entry.product, entry.product.portions.get()):
            with pytest.raises(Conflict, match="not deleted"), change_set(device):
                row.restore()

        device.refresh_from_db()
        assert device.revision == 3

    def test_creates_a_portion_if_all_were_purged(self, api, device):
        product = ProductFactory(device=device)
        entry = FoodEntryFactory(product=product)
        with change_set(device):
            product.soft_delete()
        with change_set(device):
            for model in (Product, Portion):
                rows = model.all_objects.for_device(device).exclude(deleted_at=None)
                rows.update(deleted_at=timezone.now() - timedelta(days=200))
        call_command("purge_tombstones", "--older-than", "180d", "--commit", verbosity=0)
        assert not Portion.all_objects.filter(product=product).exists()

        response = api.post(f"/v1/products/{product.pk}/restore")

        portions = [(one["name"], one["grams"], one["is_default"]) for one in response.json()["portions"]]
        assert portions == [("100g", 100, True)]
        assert api.get(f"/v1/food-entries/{entry.pk}").json()["product_id"] == str(product.pk)
