"""Concurrent requests, each with its own connection, don't break the rules of food entries."""

from collections.abc import Callable
from decimal import Decimal
from uuid import uuid4

import pytest

from food_entries.models import FoodEntry
from food_entries.tests.factories import FoodEntryFactory
from products.tests.factories import ProductFactory
from tests.harness.at_once import at_once, call, statuses
from tests.harness.errors import NO_PRODUCT, validation_error_body

pytestmark = [pytest.mark.postgres, pytest.mark.django_db(transaction=True)]

ENTRIES = "/v1/food-entries"
BATCH = f"{ENTRIES}/batch"
ID = "c2a4e8f0-5d1b-4a7e-9c3f-8b6d0e2f4a19"


@pytest.fixture
def revision(device) -> Callable[[], int]:
    """Return a function that reads the device's revision."""

    def read() -> int:
        device.refresh_from_db()
        return device.revision

    return read


class TestCreatesWithOneId:
    def test_store_one_entry(self, api, device, rye, revision):
        body = {"id": ID, "product_id": str(rye.pk), "grams": 71, "date": "2026-01-05"}
        before = revision()

        responses = at_once(*(call(api, "POST", ENTRIES, body) for _ in range(16)))

        assert statuses(responses) == {201: 1, 200: 15}
        assert len({response.content for response in responses}) == 1
        assert FoodEntry.all_objects.for_device(device).count() == 1
        assert revision() == before + 1

    def test_store_each_entry_of_two_batches_once(self, api, device, rye, revision):
        """The batches have opposite orders, which could cause a deadlock."""
        eaten = {"product_id": str(rye.pk), "grams": 71, "date": "2026-01-05"}
        batch = [{"id": str(uuid4()), **eaten} for _ in range(20)]
        before = revision()

        responses = at_once(
            *(call(api, "POST", BATCH, batch) for _ in range(2)),
            *(call(api, "POST", BATCH, batch[::-1]) for _ in range(2)),
        )

        assert statuses(responses) == {201: 1, 200: 3}
        rows = [sorted(response.json(), key=lambda row: row["id"]) for response in responses]
        assert rows == [rows[0]] * 4
        assert FoodEntry.all_objects.for_device(device).count() == 20
        assert revision() == before + 1

    def test_of_two_devices_store_one_entry(self, api, device, other_api, other_device, rye):
        mine = {"id": ID, "product_id": str(rye.pk), "grams": 71, "date": "2026-01-05"}
        theirs = mine | {"product_id": str(ProductFactory(device=other_device).pk)}

        responses = at_once(
            *(call(api, "POST", ENTRIES, mine) for _ in range(3)),
            *(call(other_api, "POST", ENTRIES, theirs) for _ in range(3)),
        )

        assert statuses(responses) == {201: 1, 200: 2, 409: 3}
        assert sorted([device.food_entries.count(), other_device.food_entries.count()]) == [0, 1]


class TestBatchesOfTwoDevicesWithTheSameIds:
    def test_do_not_deadlock_in_any_order(self, api, device, other_api, other_device, rye):
        theirs = ProductFactory(device=other_device)
        for _ in range(10):
            ids = [str(uuid4()) for _ in range(100)]
            eaten = {"grams": 71, "date": "2026-01-05"}
            forwards = [{"id": one, "product_id": str(rye.pk), **eaten} for one in ids]
            backwards = [{"id": one, "product_id": str(theirs.pk), **eaten} for one in reversed(ids)]

            responses = at_once(call(api, "POST", BATCH, forwards), call(other_api, "POST", BATCH, backwards))

            assert statuses(responses) == {201: 1, 409: 1}
            stored = next(response.json() for response in responses if response.status_code == 201)
            assert {entry["id"] for entry in stored} == set(ids)


class TestADeletionOfAProduct:
    def test_comes_before_or_after_each_new_entry(self, api, device, revision):
        for _ in range(5):
            product = ProductFactory(device=device)
            body = {"product_id": str(product.pk), "grams": 71, "date": "2026-01-05"}
            before = revision()

            calls = [call(api, "POST", ENTRIES, body) for _ in range(6)]
            calls.insert(3, call(api, "DELETE", f"/v1/products/{product.pk}"))

            responses = at_once(*calls)

            deleted = responses.pop(3)
            logged = [response for response in responses if response.status_code != 422]
            refused = [response for response in responses if response.status_code == 422]
            product.refresh_from_db()
            entries = device.food_entries.filter(product=product)
            assert deleted.status_code == 204
            assert {response.status_code for response in logged} <= {201}
            assert all(response.json() == validation_error_body(NO_PRODUCT) for response in refused)
            assert {str(entry.pk) for entry in entries} == {response.json()["id"] for response in logged}
            assert sorted(entry.revision for entry in entries) == list(range(before + 1, before + 1 + len(logged)))
            assert product.deleted_at is not None
            assert product.revision == revision() == before + len(logged) + 1


class TestAnUpdateOfAProduct:
    def test_is_copied_to_an_entry_completely_or_not_at_all(self, api, device):
        product = ProductFactory(device=device, name="Old", kcal_100g=100, protein_100g=1)
        body = {"product_id": str(product.pk), "grams": 100, "date": "2026-01-05"}

        changed, *logged = at_once(
            call(api, "PATCH", f"/v1/products/{product.pk}", {"name": "New", "kcal_100g": 200, "protein_100g": 2}),
            *(call(api, "POST", ENTRIES, body) for _ in range(5)),
        )

        product.refresh_from_db()
        assert changed.status_code == 200
        assert statuses(logged) == {201: 5}
        for entry in device.food_entries.all():
            name, kcal, protein = ("Old", 100, 1) if entry.revision < product.revision else ("New", 200, 2)
            assert (entry.product_name, entry.kcal, entry.protein) == (name, kcal, protein)


class TestAnUpdateAndADeletion:
    def test_are_applied_one_after_the_other(self, api, device, rye, revision):
        for _ in range(5):
            entry = FoodEntryFactory(product=rye)
            path = f"{ENTRIES}/{entry.pk}"
            before = revision()

            updated, deleted = at_once(call(api, "PATCH", path, {"grams": 100}), call(api, "DELETE", path))

            gone = FoodEntry.all_objects.for_device(device).get(pk=entry.pk)
            assert (updated.status_code, deleted.status_code, gone.grams, revision() - before) in [
                (200, 204, 100, 2),
                (404, 204, 200, 1),
            ]
            assert gone.deleted_at is not None
            assert gone.revision == revision()
            assert api.get(path).status_code == 404


class TestConcurrentUpdates:
    def test_are_both_stored(self, api, rye, revision):
        for _ in range(5):
            entry = FoodEntryFactory(product=rye)
            path = f"{ENTRIES}/{entry.pk}"
            before = revision()

            responses = at_once(
                call(api, "PATCH", path, {"grams": 100}),
                call(api, "PATCH", path, {"meal_type": "dinner"}),
            )

            after = api.get(path).json()
            assert statuses(responses) == {200: 2}
            assert (after["grams"], after["kcal"], after["meal_type"]) == (100.0, 259.0, "dinner")
            assert after in [response.json() for response in responses]
            assert revision() == before + 2

    def test_of_the_amount_are_applied_one_after_the_other(self, api, rye, rye_slice, revision):
        """If the grams are changed first, the entry no longer has a portion, and the quantity is refused."""
        for _ in range(5):
            entry = FoodEntryFactory(product=rye, portion=rye_slice, quantity=Decimal(2), grams=Decimal(71))
            path = f"{ENTRIES}/{entry.pk}"
            before = revision()

            counted, weighed = at_once(
                call(api, "PATCH", path, {"quantity": 4}),
                call(api, "PATCH", path, {"grams": 100}),
            )

            after = api.get(path).json()
            assert (counted.status_code, weighed.status_code, revision() - before) in [(200, 200, 2), (422, 200, 1)]
            assert (after["grams"], after["portion_id"], after["quantity"]) == (100.0, None, None)
            assert weighed.json() == after

    def test_of_the_quantity_leave_the_grams_of_the_last(self, api, device, rye, rye_slice):
        entry = FoodEntryFactory(product=rye, portion=rye_slice, quantity=Decimal(2), grams=Decimal(71))

        responses = at_once(
            *(call(api, "PATCH", f"{ENTRIES}/{entry.pk}", {"quantity": count}) for count in (1, 3, 4, 5, 6, 8))
        )

        after = device.food_entries.get()
        assert statuses(responses) == {200: 6}
        assert all(response.json()["grams"] == response.json()["quantity"] * 35.5 for response in responses)
        assert after.grams == after.quantity * rye_slice.grams
