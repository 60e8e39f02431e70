from importlib import import_module
from uuid import uuid4

import pytest
from django.apps import apps

from devices.models import Device
from ownership.tests.counters import counted, counters

BREAD = {"name": "Rye bread", "kcal_100g": 259}


@pytest.fixture
def bread(api) -> dict:
    return api.post("/v1/products", BREAD).json()


@pytest.fixture
def bite(bread) -> dict:
    """The request body of an entry."""
    return {"product_id": bread["id"], "grams": 50, "date": "2026-01-05"}


class TestTheCounters:
    def test_match_the_stored_rows(self, api, device, bread, bite):
        slice_id = str(uuid4())
        api.post(f"/v1/products/{bread['id']}/portions", {"id": slice_id, "name": "Slice", "grams": 35})
        api.post("/v1/food-entries/batch", [bite] * 3)
        before = counted(device)
        assert counters(device) == before == before | {"products": 1, "portions": 2, "food_entries": 3}

        api.patch(f"/v1/products/{bread['id']}", {"kcal_100g": 3})
        api.delete(f"/v1/portions/{slice_id}")
        api.delete(f"/v1/products/{bread['id']}")

        assert counters(device) == counted(device) == before

    def test_ignore_refused_requests_and_retries(self, api, device, bread, bite):
        before = counters(device)

        assert api.post("/v1/products", bread).status_code == 200
        assert api.post("/v1/products", {"name": ""}).status_code == 422
        assert api.post("/v1/products", BREAD | {"id": str(device.pk)}).status_code == 201
        assert api.post("/v1/food-entries", bite | {"grams": -1}).status_code == 422
        assert api.post("/v1/food-entries/batch", [bite, {}]).status_code == 422

        assert counters(device) == counted(device) == before | {"products": 2, "portions": 2}

    def test_are_set_by_the_migration_for_existing_rows(self, api, device, bite):
        api.post("/v1/food-entries", bite)
        Device.objects.filter(pk=device.pk).update(row_counts={})

        import_module("countonme.migrations.0002_count_rows").count_rows(apps, None)

        assert Device.objects.get(pk=device.pk).row_counts == {"products": 1, "portions": 1, "food_entries": 1}


class TestAQuota:
    def test_refuses_a_batch_that_fits_only_partly(self, api, settings, bite, all_rows):
        settings.MAX_FOOD_ENTRIES = 2
        assert api.post("/v1/food-entries/batch", [bite]).status_code == 201
        before = all_rows()

        assert api.post("/v1/food-entries/batch", [bite, bite]).status_code == 507
        assert all_rows() == before
        assert api.post("/v1/food-entries", bite).status_code == 201
        assert api.post("/v1/food-entries", bite).status_code == 507

    def test_does_not_limit_reads_retries_updates_and_deletions(self, api, settings, bread, bite):
        entry = api.post("/v1/food-entries", bite).json()
        settings.MAX_PRODUCTS = settings.MAX_PORTIONS = settings.MAX_FOOD_ENTRIES = 0

        assert api.post("/v1/products", bread).status_code == 200
        assert api.patch(f"/v1/products/{bread['id']}", {"kcal_100g": 1}).status_code == 200
        assert api.patch(f"/v1/food-entries/{entry['id']}", {"grams": 1}).status_code == 200
        assert api.get("/v1/food-entries").status_code == 200
        assert api.delete(f"/v1/food-entries/{entry['id']}").status_code == 204
        assert api.delete(f"/v1/products/{bread['id']}").status_code == 204
