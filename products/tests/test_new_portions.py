"""Portions that are sent with a new product."""

from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from devices.models import Device
from ownership.tests.counters import counted, counters
from products.models import Portion
from products.tests.factories import PortionFactory, ProductFactory
from tests.harness.bounds import NOT_A_NUMBER, NULL, REQUIRED, error_below, not_an_object
from tests.harness.errors import id_taken_body, validation_error_body

PRODUCTS = "/v1/products"
BREAD = {"name": "Rye bread", "kcal_100g": 259}
SLICE = {"name": "Slice", "grams": 35.5}
LOAF = {"name": "Loaf", "grams": 700}
CUP = {"name": "cup", "grams": 90}


def create(api, *portions: dict, **values):
    return api.post(PRODUCTS, BREAD | {"portions": list(portions)} | values)


def portions_of(response) -> list[tuple]:
    assert response.status_code in (200, 201), response.content
    return [(portion["name"], portion["grams"], portion["is_default"]) for portion in response.json()["portions"]]


class TestTheyAre:
    def test_stored_with_the_product(self, api, device):
        row_id = str(uuid4())

        response = create(api, SLICE | {"id": row_id.upper()}, LOAF, {"name": " Crumb ", "grams": 0.005, "colour": 1})

        assert response.status_code == 201
        assert portions_of(response) == [("Slice", 35.5, True), ("Crumb", 0.01, False), ("Loaf", 700.0, False)]
        assert response.json()["portions"][0]["id"] == row_id
        assert {portion["product_id"] for portion in response.json()["portions"]} == {response.json()["id"]}
        assert api.get(f"{PRODUCTS}/{response.json()['id']}").json() == response.json()
        assert api.get(f"{PRODUCTS}/{response.json()['id']}/portions").json() == response.json()["portions"]
        assert set(device.portions.values_list("revision", flat=True)) == {2}
        assert counters(device) == counted(device)

    @pytest.mark.parametrize(
        ("claims", "default"),
        [
            ([None, None, None], 0),
            ([False, False, False], 0),
            ([False, True, None], 1),
            ([True, True, False], 1),
            ([True, False, True], 2),
        ],
    )
    def test_given_one_default_the_last_that_claims_it_or_the_first(self, api, claims, default):
        portions = [
            portion | ({} if claim is None else {"is_default": claim})
            for portion, claim in zip((SLICE, LOAF, CUP), claims, strict=True)
        ]

        response = create(api, *portions)

        assert [name for name, _, is_default in portions_of(response) if is_default] == [portions[default]["name"]]

    @pytest.mark.parametrize("more", [{}, {"portions": []}], ids=["not sent", "empty"])
    def test_replaced_by_100g_if_there_are_none(self, api, more):
        assert portions_of(api.post(PRODUCTS, BREAD | more)) == [("100g", 100.0, True)]

    def test_listed_in_the_order_in_which_a_read_lists_them(self, api):
        names = ["cup", "Éclair", "Cup", "🥐", "麦", "eclair", "a", "Z", "100g", "ﬁn"]

        response = create(api, *({"name": name, "grams": 1} for name in names))

        assert api.get(f"{PRODUCTS}/{response.json()['id']}").json() == response.json()

    def test_aged_in_the_order_sent(self, api):
        """The oldest other portion becomes the default when the default is deleted."""
        default, *_ = create(api, SLICE, LOAF, CUP).json()["portions"]

        api.delete(f"/v1/portions/{default['id']}")

        (product,) = api.get(PRODUCTS).json()
        assert portions_of_row(product) == [("Loaf", True), ("cup", False)]

    def test_ignored_in_an_update(self, api, all_rows):
        product = create(api, SLICE).json()
        before = all_rows()

        response = api.put(f"{PRODUCTS}/{product['id']}", product | {"portions": [LOAF, {"name": 7}]})

        assert response.json() == product
        assert all_rows() == before

    def test_ignored_in_a_retry(self, api, all_rows):
        row_id, sent = str(uuid4()), [SLICE | {"id": str(uuid4())}, LOAF | {"id": str(uuid4())}]
        first = create(api, *sent, id=row_id)
        before = all_rows()

        retries = [create(api, *sent, id=row_id), create(api, CUP, {"name": 7}, id=row_id)]

        assert [response.status_code for response in retries] == [200, 200]
        assert [response.json() for response in retries] == [first.json()] * 2
        assert all_rows() == before

    def test_stored_with_one_query_for_any_number(self, api):
        create(api)

        with CaptureQueriesContext(connection) as one:
            create(api, SLICE)
        with CaptureQueriesContext(connection) as many:
            create(api, *[SLICE] * 50)

        assert len(many) == len(one)


def portions_of_row(product: dict) -> list[tuple]:
    return [(portion["name"], portion["is_default"]) for portion in product["portions"]]


class TestTheyAreRefused:
    @pytest.mark.parametrize(
        ("portions", "errors"),
        [
            (None, [("portions", *NULL)]),
            ({"name": "Slice"}, [("portions", 'Expected a list of items but got type "dict".', "not_a_list")]),
            ("Slice", [("portions", 'Expected a list of items but got type "str".', "not_a_list")]),
            ([SLICE, 7], [("portions", 1, *not_an_object("int"))]),
            ([SLICE, None], [("portions", 1, *NULL)]),
            ([{}], [("portions", 0, name, *REQUIRED) for name in ("name", "grams")]),
            (
                [SLICE | {"grams": 0}, SLICE, SLICE | {"grams": "x"}],
                [("portions", 0, "grams", *error_below("0.01")), ("portions", 2, "grams", *NOT_A_NUMBER)],
            ),
            ([SLICE | {"is_default": None}], [("portions", 0, "is_default", *NULL)]),
        ],
    )
    def test_if_one_is_invalid(self, api, all_rows, portions, errors):
        before = all_rows()

        response = api.post(PRODUCTS, BREAD | {"portions": portions})

        assert response.status_code == 422
        assert response.json() == validation_error_body(*errors)
        assert all_rows() == before

    def test_together_with_an_invalid_product(self, api, all_rows):
        before = all_rows()

        response = api.post(PRODUCTS, {"name": "", "portions": [{"name": ""}]})

        assert {error["field"] for error in response.json()["errors"]} == {
            *("name", "kcal_100g", "portions.0.name", "portions.0.grams")
        }
        assert all_rows() == before

    def test_if_ids_are_taken(self, api, device, other_device, all_rows):
        """By another product, by another device, or by another of these portions. Then nothing is stored."""
        own = PortionFactory(product=ProductFactory(device=device))
        others = PortionFactory(product=ProductFactory(device=other_device))
        deleted = PortionFactory(product=own.product)
        api.delete(f"/v1/portions/{deleted.pk}")
        twice, before = str(uuid4()), all_rows()
        taken = sorted([str(own.pk), str(others.pk), str(deleted.pk), twice])

        response = create(api, *(SLICE | {"id": row_id} for row_id in [*taken, twice, str(uuid4())]))
        one = create(api, SLICE | {"id": str(own.pk)})

        assert (response.status_code, response.json()) == (409, id_taken_body(*taken))
        assert (one.status_code, one.json()) == (409, id_taken_body(str(own.pk)))
        assert all_rows() == before

    def test_beyond_the_limit_of_a_product(self, api, settings, all_rows):
        settings.MAX_PORTIONS_PER_PRODUCT = 3
        before = all_rows()

        response = create(api, *[{"invalid": True}] * 4)

        assert response.status_code == 507
        assert response.json()["detail"] == "A product can have 3 portions. Deleted ones count until they are purged."
        assert all_rows() == before
        assert create(api, *[SLICE] * 3).status_code == 201

    @pytest.mark.parametrize(("setting", "status"), [("MAX_PORTIONS", 507), ("NEW_ROWS_FIRST_DAY", 429)])
    def test_beyond_a_quota_of_the_device(self, api, device, settings, all_rows, setting, status):
        setattr(settings, setting, 3)
        before = all_rows()

        response = create(api, SLICE, LOAF, CUP, SLICE)

        assert response.status_code == status
        assert all_rows() == before
        assert create(api, SLICE, LOAF).status_code == 201
        assert Portion.objects.for_device(device).count() == 2
        assert counters(Device.objects.get(pk=device.pk)) == counted(device)
