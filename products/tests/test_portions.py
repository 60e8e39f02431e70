from decimal import Decimal
from uuid import UUID, uuid4

import pytest
from django.utils.dateparse import parse_datetime

from ownership.models import change_set
from products.models import Portion, Product
from products.tests.factories import PortionFactory, ProductFactory
from tests.harness.errors import conflict_body, id_taken_body

ID = "5b0f7c7a-0c57-4b9c-8d0a-2f5d6c3a9b21"

PRODUCT_NOT_FOUND = {"detail": "Product not found"}
NOT_FOUND = {"detail": "Portion not found"}
NEEDS_DEFAULT = conflict_body("A product needs a default portion. Make another portion the default instead.")
NEEDS_PORTION = conflict_body("The only portion of a product can't be deleted.")


@pytest.fixture
def product(device) -> Product:
    return ProductFactory(device=device)


@pytest.fixture
def of_100g(product) -> Portion:
    """The default portion that was created with the product."""
    return product.portions.get()


def defaults(product: Product) -> list[str]:
    return [portion.name for portion in product.portions.filter(is_default=True, deleted_at=None)]


class TestCreatePortion:
    def test_stores_it(self, api, product, of_100g):
        response = api.post(f"/v1/products/{product.pk}/portions", {"name": "Slice", "grams": 35.5})

        portion = product.portions.get(name="Slice")
        assert response.status_code == 201
        assert response.json() == {
            "id": str(portion.pk),
            "product_id": str(product.pk),
            "name": "Slice",
            "grams": 35.5,
            "is_default": False,
            "created_at": response.json()["created_at"],
            "updated_at": None,
        }
        assert parse_datetime(response.json()["created_at"]) == portion.created_at
        assert (portion.device_id, portion.grams) == (product.device_id, Decimal("35.50"))
        assert defaults(product) == ["100g"]
        assert api.get(f"/v1/portions/{portion.pk}").json() == response.json()

    def test_replaces_the_current_default(self, api, device, product, of_100g):
        response = api.post(f"/v1/products/{product.pk}/portions", {"name": "Slice", "grams": 35.5, "is_default": True})

        device.refresh_from_db()
        of_100g.refresh_from_db()
        assert response.status_code == 201
        assert (response.json()["is_default"], response.json()["updated_at"]) == (True, None)
        assert defaults(product) == ["Slice"]
        assert of_100g.updated_at is not None
        assert of_100g.revision == product.portions.get(name="Slice").revision == device.revision == 3

    def test_leaves_the_defaults_of_other_products(self, api, device, product):
        bystander = ProductFactory(device=device)

        api.post(f"/v1/products/{product.pk}/portions", {"name": "Slice", "grams": 35.5, "is_default": True})

        assert defaults(bystander) == ["100g"]

    def test_accepts_the_name_of_another_portion(self, api, product):
        response = api.post(f"/v1/products/{product.pk}/portions", {"name": "100g", "grams": 100})

        assert response.status_code == 201
        assert product.portions.count() == 2

    @pytest.mark.parametrize("chosen", [ID, ID.upper()])
    def test_uses_the_id_sent_by_the_client(self, api, product, chosen):
        response = api.post(f"/v1/products/{product.pk}/portions", {"id": chosen, "name": "Slice", "grams": 40})

        assert response.status_code == 201
        assert response.json()["id"] == ID
        assert product.portions.filter(pk=ID).exists()

    def test_ignores_unknown_and_read_only_fields(self, api, device, other_device, product):
        elsewhere = ProductFactory(device=device)

        response = api.post(
            f"/v1/products/{product.pk}/portions",
            {
                "name": "Slice",
                "grams": 40,
                "product": str(elsewhere.pk),
                "product_id": str(elsewhere.pk),
                "device_id": str(other_device.pk),
                "revision": 99,
                "created_at": "2001-01-01T00:00:00Z",
                "deleted_at": "2001-01-01T00:00:00Z",
                "colour": "brown",
            },
        )

        portion = product.portions.get(name="Slice")
        device.refresh_from_db()
        assert response.status_code == 201
        assert response.json()["product_id"] == str(product.pk)
        assert (portion.device_id, portion.revision, portion.deleted_at) == (device.pk, device.revision, None)
        assert portion.created_at.year > 2001

    @pytest.mark.parametrize("body", [{"name": "Slice", "grams": 40}, {"name": ""}, {}], ids=["good", "bad", "empty"])
    @pytest.mark.parametrize("whose", ["deleted", "another device's", "nobody's"])
    def test_returns_404_without_a_live_product_of_the_caller(
        self, api, device, other_api, other_device, all_rows, whose, body
    ):
        product_id = uuid4() if whose == "nobody's" else ProductFactory(device=other_device).pk
        if whose == "deleted":
            product_id = ProductFactory(device=device).pk
            api.delete(f"/v1/products/{product_id}")
        before = all_rows()

        response = api.post(f"/v1/products/{product_id}/portions", body)

        assert response.status_code == 404
        assert response.json() == PRODUCT_NOT_FOUND
        assert all_rows() == before


class TestRetryCreatePortion:
    @pytest.mark.parametrize(
        "body",
        [{"name": "Slice", "grams": 40}, {"name": "Loaf", "grams": 500, "is_default": True}, {"name": ""}, {}],
        ids=["the same", "other values", "bad values", "nothing"],
    )
    @pytest.mark.parametrize("chosen", [ID, ID.upper()])
    def test_returns_the_stored_row_whatever_else_is_sent(self, api, product, all_rows, chosen, body):
        first = api.post(f"/v1/products/{product.pk}/portions", {"id": ID, "name": "Slice", "grams": 40})
        before = all_rows()

        response = api.post(f"/v1/products/{product.pk}/portions", {"id": chosen, **body})

        assert response.status_code == 200
        assert response.json() == first.json()
        assert all_rows() == before

    def test_returns_the_stored_row_even_if_it_belongs_to_another_product(self, api, device, product, all_rows):
        stored = PortionFactory(id=ID, product=ProductFactory(device=device), name="Slice")
        before = all_rows()

        response = api.post(f"/v1/products/{product.pk}/portions", {"id": ID, "name": "Slice", "grams": 40})

        assert response.status_code == 200
        assert response.json()["product_id"] == str(stored.product_id)
        assert all_rows() == before

    def test_returns_409_if_the_row_is_deleted(self, api, product, all_rows):
        PortionFactory(id=ID, product=product)
        api.delete(f"/v1/portions/{ID}")
        before = all_rows()

        response = api.post(f"/v1/products/{product.pk}/portions", {"id": ID, "name": "Slice", "grams": 40})

        assert response.status_code == 409
        assert response.json() == id_taken_body(ID)
        assert all_rows() == before

    @pytest.mark.parametrize("is_default", [False, True])
    def test_returns_409_if_the_row_belongs_to_another_device(self, api, other_device, product, all_rows, is_default):
        PortionFactory(id=ID, product=ProductFactory(device=other_device))
        before = all_rows()

        response = api.post(
            f"/v1/products/{product.pk}/portions", {"id": ID, "name": "Slice", "grams": 40, "is_default": is_default}
        )

        assert response.status_code == 409
        assert response.json() == id_taken_body(ID)
        assert all_rows() == before


@pytest.mark.parametrize("method", ["put", "patch"])
class TestUpdatePortion:
    def test_changes_the_fields_that_are_sent(self, api, device, product, method):
        portion = PortionFactory(product=product, name="Slice")
        before = api.get(f"/v1/portions/{portion.pk}").json()

        response = getattr(api, method)(f"/v1/portions/{portion.pk}", {"grams": 42.5})

        device.refresh_from_db()
        portion.refresh_from_db()
        assert response.status_code == 200
        assert response.json() == before | {"grams": 42.5, "updated_at": response.json()["updated_at"]}
        assert parse_datetime(response.json()["updated_at"]) == portion.updated_at > portion.created_at
        assert (portion.grams, portion.revision) == (Decimal("42.50"), device.revision)
        assert api.get(f"/v1/portions/{portion.pk}").json() == response.json()

    def test_replaces_the_current_default(self, api, device, product, of_100g, method):
        bystander = ProductFactory(device=device)
        portion = PortionFactory(product=product, name="Slice")

        response = getattr(api, method)(f"/v1/portions/{portion.pk}", {"is_default": True})

        device.refresh_from_db()
        of_100g.refresh_from_db()
        portion.refresh_from_db()
        assert response.status_code == 200
        assert response.json()["is_default"] is True
        assert (defaults(product), defaults(bystander)) == (["Slice"], ["100g"])
        assert of_100g.revision == portion.revision == device.revision
        assert of_100g.updated_at is not None
        assert portion.updated_at is not None

    @pytest.mark.parametrize("other_values", [{}, {"name": "Other", "grams": 1}], ids=["alone", "with other values"])
    def test_refuses_to_leave_a_product_without_a_default(self, api, product, of_100g, all_rows, method, other_values):
        PortionFactory(product=product)
        before = all_rows()

        response = getattr(api, method)(f"/v1/portions/{of_100g.pk}", {"is_default": False, **other_values})

        assert response.status_code == 409
        assert response.json() == NEEDS_DEFAULT
        assert all_rows() == before

    def test_ignores_the_ids_in_the_body(self, api, device, product, of_100g, method):
        elsewhere = ProductFactory(device=device)
        portion = PortionFactory(product=product, name="Slice")

        response = getattr(api, method)(
            f"/v1/portions/{portion.pk}", {"id": str(of_100g.pk), "product_id": str(elsewhere.pk), "name": "Loaf"}
        )

        assert response.status_code == 200
        assert (response.json()["id"], response.json()["product_id"]) == (str(portion.pk), str(product.pk))
        assert dict(product.portions.values_list("pk", "name")) == {portion.pk: "Loaf", of_100g.pk: "100g"}
        assert elsewhere.portions.count() == 1

    @pytest.mark.parametrize(
        "sent",
        [
            {},
            {"name": " Slice "},
            {"grams": 39.995},
            {"is_default": False},
            {"updated_at": "2001-01-01T00:00:00Z", "deleted_at": "2001-01-01T00:00:00Z", "colour": "brown"},
        ],
        ids=["nothing", "trimmed", "rounded", "no default", "unknown"],
    )
    def test_does_not_write_equal_values(self, api, product, all_rows, method, sent):
        portion = PortionFactory(product=product, name="Slice")
        shown, before = api.get(f"/v1/portions/{portion.pk}").json(), all_rows()

        response = getattr(api, method)(f"/v1/portions/{portion.pk}", sent)

        assert response.status_code == 200
        assert response.json() == shown
        assert all_rows() == before

    def test_does_not_write_a_default_that_is_sent_back_unchanged(self, api, product, of_100g, all_rows, method):
        PortionFactory(product=product)
        shown, before = api.get(f"/v1/portions/{of_100g.pk}").json(), all_rows()

        response = getattr(api, method)(f"/v1/portions/{of_100g.pk}", shown)

        assert response.status_code == 200
        assert response.json() == shown
        assert all_rows() == before


class TestDeletePortion:
    def test_hides_it(self, api, device, product, of_100g):
        portion = PortionFactory(product=product)

        response = api.delete(f"/v1/portions/{portion.pk}")

        device.refresh_from_db()
        portion.refresh_from_db()
        assert (response.status_code, response.content) == (204, b"")
        assert api.get(f"/v1/portions/{portion.pk}").json() == NOT_FOUND
        assert [row["id"] for row in api.get(f"/v1/products/{product.pk}/portions").json()] == [str(of_100g.pk)]
        assert portion.deleted_at is not None
        assert portion.revision == device.revision

    def test_returns_404_the_second_time(self, api, product, all_rows):
        portion = PortionFactory(product=product)
        api.delete(f"/v1/portions/{portion.pk}")
        before = all_rows()

        response = api.delete(f"/v1/portions/{portion.pk}")

        assert response.status_code == 404
        assert response.json() == NOT_FOUND
        assert all_rows() == before

    def test_refuses_the_only_one(self, api, product, of_100g, all_rows):
        before = all_rows()

        response = api.delete(f"/v1/portions/{of_100g.pk}")

        assert response.status_code == 409
        assert response.json() == NEEDS_PORTION
        assert all_rows() == before

    def test_refuses_the_only_live_one(self, api, device, product, of_100g, all_rows):
        PortionFactory(product=ProductFactory(device=device))
        portion = PortionFactory(product=product)
        assert api.delete(f"/v1/portions/{of_100g.pk}").status_code == 204
        before = all_rows()

        response = api.delete(f"/v1/portions/{portion.pk}")

        assert response.status_code == 409
        assert response.json() == NEEDS_PORTION
        assert all_rows() == before

    def test_makes_the_oldest_remaining_portion_the_default(self, api, device, product, of_100g):
        gone, oldest, youngest = (PortionFactory(product=product, name=name) for name in ("Crumb", "Slice", "Half"))
        api.delete(f"/v1/portions/{gone.pk}")
        api.patch(f"/v1/portions/{oldest.pk}", {"grams": 41})

        response = api.delete(f"/v1/portions/{of_100g.pk}")

        device.refresh_from_db()
        oldest.refresh_from_db()
        youngest.refresh_from_db()
        assert response.status_code == 204
        assert defaults(product) == ["Slice"]
        assert oldest.revision == device.revision
        assert youngest.updated_at is None

    def test_prefers_the_lowest_id_among_portions_of_the_same_age(self, api, device, product, of_100g):
        for portion_id in ("b" + ID[1:], "a" + ID[1:], "c" + ID[1:]):
            PortionFactory(id=portion_id, product=product)
        with change_set(device):
            Portion.objects.for_device(device).exclude(pk=of_100g.pk).update(created_at=of_100g.created_at)

        api.delete(f"/v1/portions/{of_100g.pk}")

        assert [portion.pk for portion in product.portions.filter(is_default=True)] == [UUID("a" + ID[1:])]

    def test_keeps_the_default_if_another_portion_is_deleted(self, api, product, of_100g):
        portion = PortionFactory(product=product)

        api.delete(f"/v1/portions/{portion.pk}")

        of_100g.refresh_from_db()
        assert defaults(product) == ["100g"]
        assert of_100g.updated_at is None


class TestListPortions:
    def test_shows_the_default_first_then_by_name(self, api, device, product):
        PortionFactory(product=ProductFactory(device=device), name="Elsewhere")
        for name in ("slice", "Éach", "Half", "0 crumbs"):
            PortionFactory(product=product, name=name)
        gone = PortionFactory(product=product, name="Gone")
        api.delete(f"/v1/portions/{gone.pk}")
        api.patch(f"/v1/portions/{product.portions.get(name='slice').pk}", {"is_default": True})

        response = api.get(f"/v1/products/{product.pk}/portions")

        assert response.status_code == 200
        assert [portion["name"] for portion in response.json()] == ["slice", "0 crumbs", "100g", "Éach", "Half"]
        assert response.json() == api.get(f"/v1/products/{product.pk}").json()["portions"]
        assert response.json()[0] == api.get(f"/v1/portions/{response.json()[0]['id']}").json()

    def test_breaks_ties_by_id(self, api, product):
        ids = [first + ID[1:] for first in "a05f9"]
        for number, portion_id in enumerate(ids):
            PortionFactory(id=portion_id, product=product, name=["Éach", "each", "EACH"][number % 3])

        response = api.get(f"/v1/products/{product.pk}/portions")

        assert [portion["id"] for portion in response.json()[1:]] == sorted(ids)

    def test_is_paginated(self, api, product):
        for _ in range(4):
            PortionFactory(product=product)
        whole = api.get(f"/v1/products/{product.pk}/portions").json()

        first = api.get(f"/v1/products/{product.pk}/portions?limit=3")
        second = api.get(first["Link"].partition(">")[0].removeprefix("<"))

        assert (len(first.json()), len(second.json())) == (3, 2)
        assert first.json() + second.json() == whole
        assert "Link" not in second
        assert api.get(f"/v1/products/{product.pk}/portions?offset=5").json() == []

    @pytest.mark.parametrize("query", ["limit=0", "limit=201", "offset=-1", "offset=x"])
    def test_refuses_a_page_out_of_bounds(self, api, product, query):
        response = api.get(f"/v1/products/{product.pk}/portions?{query}")

        assert response.status_code == 422
        assert response.json()["detail"] == "Validation error"
        assert [error["loc"] for error in response.json()["errors"]] == [[query.partition("=")[0]]]

    @pytest.mark.parametrize("count", [1, 5])
    def test_takes_three_queries_for_any_number_of_portions(self, api, product, django_assert_num_queries, count):
        for _ in range(count - 1):
            PortionFactory(product=product)

        with django_assert_num_queries(3):  # the device of the token, the product, its portions
            response = api.get(f"/v1/products/{product.pk}/portions")

        assert len(response.json()) == count


class TestReadPortion:
    def test_takes_two_queries(self, api, of_100g, django_assert_num_queries):
        with django_assert_num_queries(2):  # the device of the token, the portion
            response = api.get(f"/v1/portions/{of_100g.pk}")

        assert response.json()["id"] == str(of_100g.pk)


class TestALiveProduct:
    def test_always_has_one_default_portion(self, api, device, product):
        """Changes the default in every possible way, and checks the database after each step."""
        path = f"/v1/products/{product.pk}/portions"
        a, b, c = (
            api.post(path, {"name": name, "grams": 1, "is_default": default}).json()["id"]
            for name, default in (("a", True), ("b", False), ("c", True))
        )
        steps = [
            ("c", lambda: api.patch(f"/v1/portions/{c}", {"is_default": True})),
            ("b", lambda: api.put(f"/v1/portions/{b}", {"is_default": True, "name": "b"})),
            ("b", lambda: api.patch(f"/v1/portions/{b}", {"is_default": False})),
            ("b", lambda: api.patch(f"/v1/portions/{c}", {"is_default": False})),
            ("100g", lambda: api.delete(f"/v1/portions/{b}")),
            ("100g", lambda: api.delete(f"/v1/portions/{a}")),
            ("c", lambda: api.patch(f"/v1/portions/{c}", {"is_default": True})),
            ("100g", lambda: api.delete(f"/v1/portions/{c}")),
        ]

        for expected, step in steps:
            step()

            assert defaults(product) == [expected]
