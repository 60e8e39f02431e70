"""Concurrent requests of one device, each with its own connection, don't break the rules of products."""

import pytest

from catalog.tests import import_foods, make_food
from products.models import Portion, Product
from products.tests.factories import PortionFactory, ProductFactory
from tests.harness.at_once import at_once, call, statuses

pytestmark = [pytest.mark.postgres, pytest.mark.django_db(transaction=True)]

ID = "7f1c2f6e-61a5-4a6a-9d55-0a3f0c5f8e10"


def defaults(product: Product) -> int:
    """Return the number of default portions of the product."""
    return Portion.objects.for_device(product.device_id).filter(product=product, is_default=True).count()


def details(responses: list, status: int) -> set[str]:
    return {response.json()["detail"] for response in responses if response.status_code == status}


class TestCreatesWithOneId:
    def test_store_one_product_with_one_default_portion(self, api, device):
        body = {"id": ID, "name": "Rye", "kcal_100g": 250}

        responses = at_once(*(call(api, "POST", "/v1/products", body) for _ in range(16)))

        device.refresh_from_db()
        assert statuses(responses) == {201: 1, 200: 15}
        assert len({response.content for response in responses}) == 1
        assert Product.all_objects.for_device(device).count() == Portion.all_objects.for_device(device).count() == 1
        assert defaults(device.products.get()) == 1
        assert device.revision == 2

    def test_store_one_portion(self, api, device):
        product = ProductFactory(device=device)
        path = f"/v1/products/{product.pk}/portions"
        body = {"id": ID, "name": "Slice", "grams": 40, "is_default": True}

        responses = at_once(*(call(api, "POST", path, body) for _ in range(8)))

        assert statuses(responses) == {201: 1, 200: 7}
        assert Portion.all_objects.for_device(device).count() == 2
        assert defaults(product) == 1

    def test_of_two_devices_store_one_product(self, api, device, other_api, other_device):
        body = {"id": ID, "name": "Rye", "kcal_100g": 250}

        responses = at_once(
            *(call(api, "POST", "/v1/products", body) for _ in range(4)),
            *(call(other_api, "POST", "/v1/products", body) for _ in range(4)),
        )

        assert statuses(responses) == {201: 1, 200: 3, 409: 4}
        assert details(responses, 409) == {"This id is taken"}
        assert sorted([device.products.count(), other_device.products.count()]) == [0, 1]
        assert sorted([device.portions.count(), other_device.portions.count()]) == [0, 1]


class TestCopiesOfOneFood:
    def test_store_its_barcode_once(self, api, device):
        food = make_food("Rye", barcode="04006381333931")
        import_foods(food)

        responses = at_once(*(call(api, "POST", "/v1/products", {"catalog_food_id": str(food.id)}) for _ in range(8)))

        assert statuses(responses) == {201: 8}
        barcodes = [response.json()["barcode"] for response in responses]
        assert sorted(barcodes, key=str) == ["04006381333931", *[None] * 7]


class TestCreatesWithOneBarcode:
    def test_store_one_product(self, api, device):
        body = {"name": "Rye", "kcal_100g": 250, "barcode": "4006381333931"}

        responses = at_once(*(call(api, "POST", "/v1/products", body) for _ in range(8)))

        device.refresh_from_db()
        assert statuses(responses) == {201: 1, 409: 7}
        assert details(responses, 409) == {"Another product has this barcode."}
        (stored,) = (response.json()["id"] for response in responses if response.status_code == 201)
        assert [response.json()["conflict"] for response in responses if response.status_code == 409] == [[stored]] * 7
        assert Product.all_objects.for_device(device).count() == Portion.all_objects.for_device(device).count() == 1
        assert device.revision == 2


class TestChangesOfTheDefault:
    def test_leave_exactly_one(self, api, device):
        product = ProductFactory(device=device)
        portions = [PortionFactory(product=product) for _ in range(8)]

        responses = at_once(
            *(call(api, "PATCH", f"/v1/portions/{portion.pk}", {"is_default": True}) for portion in portions)
        )

        assert statuses(responses) == {200: 8}
        assert all(response.json()["is_default"] for response in responses)
        assert defaults(product) == 1
        assert product.portions.filter(deleted_at=None).count() == 9

    def test_leave_exactly_one_while_defaults_are_created_and_deleted(self, api, device):
        product = ProductFactory(device=device)
        new_default, old_default = PortionFactory(product=product), product.portions.get(is_default=True)
        body = {"name": "Slice", "grams": 40, "is_default": True}

        responses = at_once(
            *(call(api, "POST", f"/v1/products/{product.pk}/portions", body) for _ in range(3)),
            *(call(api, "PATCH", f"/v1/portions/{new_default.pk}", {"is_default": True}) for _ in range(2)),
            call(api, "DELETE", f"/v1/portions/{old_default.pk}"),
        )

        assert statuses(responses) == {201: 3, 200: 2, 204: 1}
        assert defaults(product) == 1


class TestADeletionOfAProduct:
    def test_includes_a_portion_that_is_added_concurrently(self, api, device):
        outcomes = set()
        for _ in range(5):
            product = ProductFactory(device=device)
            path = f"/v1/products/{product.pk}"

            deleted, added = at_once(
                call(api, "DELETE", path),
                call(api, "POST", f"{path}/portions", {"name": "Slice", "grams": 40}),
            )

            stored = Portion.all_objects.for_device(device).filter(product=product).count()
            outcomes.add((deleted.status_code, added.status_code, stored))

        assert outcomes <= {(204, 201, 2), (204, 404, 1)}
        assert not device.products.exists()
        assert not device.portions.exists()

    def test_happens_once(self, api, device):
        product = ProductFactory(device=device)

        responses = at_once(*(call(api, "DELETE", f"/v1/products/{product.pk}") for _ in range(4)))

        device.refresh_from_db()
        assert statuses(responses) == {204: 1, 404: 3}
        assert device.revision == 3


class TestDeletionsOfBothPortions:
    def test_leave_one_of_them_as_the_default(self, api, device):
        for _ in range(5):
            product = ProductFactory(device=device)
            portions = [product.portions.get(), PortionFactory(product=product)]

            responses = at_once(*(call(api, "DELETE", f"/v1/portions/{portion.pk}") for portion in portions))

            assert statuses(responses) == {204: 1, 409: 1}
            assert product.portions.filter(deleted_at=None).count() == defaults(product) == 1


class TestChangesOfOneProduct:
    def test_get_one_revision_each(self, api, device):
        product = ProductFactory(device=device)
        path = f"/v1/products/{product.pk}"

        responses = at_once(*(call(api, "PATCH", path, {"kcal_100g": kcal}) for kcal in range(8)))

        device.refresh_from_db()
        product.refresh_from_db()
        assert statuses(responses) == {200: 8}
        assert sorted(response.json()["kcal_100g"] for response in responses) == list(range(8))
        assert len({response.json()["updated_at"] for response in responses}) == 8
        assert device.revision == product.revision == 2 + 8

    def test_are_all_stored(self, api, device):
        product = ProductFactory(device=device)
        path = f"/v1/products/{product.pk}"
        nutrients = {"kcal_100g": 1, "protein_100g": 2.0, "carbs_100g": 3.0, "fat_100g": 4.0, "salt_100g": 5.0}
        values = {"name": "Rye", **nutrients, "barcode": "96385074"}

        responses = at_once(*(call(api, "PATCH", path, {field: value}) for field, value in values.items()))

        stored = api.get(path).json()
        assert statuses(responses) == {200: len(values)}
        assert {field: stored[field] for field in values} == values
