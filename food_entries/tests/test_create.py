from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID, uuid4

import pytest
from django.utils.dateparse import parse_datetime

from food_entries.tests.factories import FoodEntryFactory
from products.tests.factories import PortionFactory, ProductFactory
from tests.harness.errors import NO_PORTION, NO_PRODUCT, id_taken_body, validation_error_body

ENTRIES = "/v1/food-entries"
ID = "c2a4e8f0-5d1b-4a7e-9c3f-8b6d0e2f4a19"
DAY = "2026-01-05"
RYE_71_G = {
    "product_name": "Rye bread",
    "unit": "g",
    "kcal": 183.89,
    "protein": 6.04,
    "carbs": 34.29,
    "fat": 2.34,
    "sugars": 2.73,
    "saturated_fat": 0.45,
    "fiber": 4.12,
    "salt": 1.07,
}


class TestCreateEntry:
    def test_stores_it_by_weight(self, api, device, rye):
        before = datetime.now(UTC)

        response = api.post(ENTRIES, {"product_id": str(rye.pk), "grams": 71, "date": DAY, "meal_type": "lunch"})

        entry = device.food_entries.get()
        assert response.status_code == 201
        assert response.json() == {
            "id": str(entry.pk),
            "product_id": str(rye.pk),
            "portion_id": None,
            "quantity": None,
            "grams": 71.0,
            "date": DAY,
            "time": None,
            "meal_type": "lunch",
            "portion_name": None,
            "portion_grams": None,
            "created_at": response.json()["created_at"],
            "updated_at": None,
            **RYE_71_G,
        }
        assert response.json()["created_at"].endswith("Z")
        assert before <= parse_datetime(response.json()["created_at"]) == entry.created_at <= datetime.now(UTC)
        assert "Link" not in response
        assert api.get(f"{ENTRIES}/{entry.pk}").json() == response.json()

    def test_stores_it_by_portion(self, api, device, rye, rye_slice):
        response = api.post(
            ENTRIES,
            {
                "product_id": str(rye.pk),
                "portion_id": str(rye_slice.pk),
                "quantity": 2,
                "date": DAY,
                "time": "07:30",
                "meal_type": "breakfast",
            },
        )

        entry = device.food_entries.get()
        assert response.status_code == 201
        assert response.json() == {
            "id": str(entry.pk),
            "product_id": str(rye.pk),
            "portion_id": str(rye_slice.pk),
            "quantity": 2.0,
            "grams": 71.0,
            "date": DAY,
            "time": "07:30:00.000",
            "meal_type": "breakfast",
            "portion_name": "Slice",
            "portion_grams": 35.5,
            "created_at": response.json()["created_at"],
            "updated_at": None,
            **RYE_71_G,
        }
        assert api.get(f"{ENTRIES}/{entry.pk}").json() == response.json()

    def test_defaults_to_one_portion(self, api, rye, rye_slice):
        sent = {"product_id": str(rye.pk), "portion_id": str(rye_slice.pk), "date": DAY}

        responses = [api.post(ENTRIES, sent), api.post(ENTRIES, sent | {"quantity": None})]

        assert [response.status_code for response in responses] == [201, 201]
        assert [response.json()["quantity"] for response in responses] == [1.0, 1.0]
        assert [response.json()["grams"] for response in responses] == [35.5, 35.5]

    def test_defaults_to_snacks(self, api, rye):
        response = api.post(ENTRIES, {"product_id": str(rye.pk), "grams": 71, "date": DAY})

        assert response.status_code == 201
        assert response.json()["meal_type"] == "snacks"

    def test_accepts_null_for_unused_fields(self, api, rye, rye_slice):
        sent = {"product_id": str(rye.pk), "date": DAY}

        by_weight = api.post(ENTRIES, sent | {"grams": 71, "portion_id": None, "quantity": None})
        by_portion = api.post(ENTRIES, sent | {"grams": None, "portion_id": str(rye_slice.pk), "quantity": 2})

        assert (by_weight.status_code, by_portion.status_code) == (201, 201)
        assert (by_weight.json()["grams"], by_weight.json()["quantity"]) == (71.0, None)
        assert (by_portion.json()["grams"], by_portion.json()["quantity"]) == (71.0, 2.0)

    def test_increments_the_revision_once(self, api, device, rye):
        revision = rye.revision

        api.post(ENTRIES, {"product_id": str(rye.pk), "grams": 71, "date": DAY})

        device.refresh_from_db()
        assert device.revision == device.food_entries.get().revision == revision + 1

    def test_generates_an_id_if_none_is_sent(self, api, rye):
        sent = {"product_id": str(rye.pk), "grams": 71, "date": DAY}

        first, second = api.post(ENTRIES, sent), api.post(ENTRIES, sent)

        assert (first.status_code, second.status_code) == (201, 201)
        assert UUID(first.json()["id"]) != UUID(second.json()["id"])

    @pytest.mark.parametrize("chosen", [ID, ID.upper(), "00000000-0000-0000-0000-000000000001"])
    def test_uses_the_id_sent_by_the_client(self, api, device, rye, chosen):
        response = api.post(ENTRIES, {"id": chosen, "product_id": str(rye.pk), "grams": 71, "date": DAY})

        assert response.status_code == 201
        assert response.json()["id"] == chosen.lower()
        assert device.food_entries.get().pk == UUID(chosen)

    def test_finds_its_product_and_portion_by_ids_in_upper_case(self, api, rye, rye_slice):
        ids = {"product_id": str(rye.pk).upper(), "portion_id": str(rye_slice.pk).upper()}

        response = api.post(ENTRIES, {**ids, "date": DAY})

        assert response.status_code == 201
        assert response.json()["product_id"] == str(rye.pk)
        assert response.json()["portion_id"] == str(rye_slice.pk)

    def test_ignores_unknown_and_read_only_fields(self, api, device, other_device, rye):
        response = api.post(
            ENTRIES,
            {
                "product_id": str(rye.pk),
                "grams": 71,
                "date": DAY,
                "mood": "fine",
                "device": str(other_device.pk),
                "device_id": str(other_device.pk),
                "revision": 99,
                "product_name": "Wheat",
                "kcal": 1,
                "protein": 1,
                "carbs": "x",
                "fat": None,
                "kcal_100g": 1,
                "created_at": "2001-01-01T00:00:00Z",
                "updated_at": "2001-01-01T00:00:00Z",
                "deleted_at": "2001-01-01T00:00:00Z",
            },
        )

        entry = device.food_entries.get()
        assert response.status_code == 201
        assert [response.json()[total] for total in ("kcal", "protein", "carbs", "fat")] == [183.89, 6.04, 34.29, 2.34]
        assert (entry.product_name, entry.kcal_100g, entry.revision) == ("Rye bread", 259, rye.revision + 1)
        assert (entry.updated_at, entry.deleted_at) == (None, None)
        assert entry.created_at.year > 2001

    @pytest.mark.parametrize("day", ["1900-01-01", "1999-12-31", "2024-02-29", "2199-12-31"])
    def test_accepts_any_day_of_the_calendar(self, api, rye, day):
        response = api.post(ENTRIES, {"product_id": str(rye.pk), "grams": 71, "date": day})

        assert response.status_code == 201
        assert response.json()["date"] == day
        assert api.get(f"{ENTRIES}?date={day}").json() == [response.json()]

    def test_takes_one_more_query_for_a_portion(self, api, rye, rye_slice, django_assert_num_queries):
        sent = {"product_id": str(rye.pk), "date": DAY}

        # the device of the token, SAVEPOINT, the revision, the product, the entry, RELEASE SAVEPOINT
        with django_assert_num_queries(7):
            weighed = api.post(ENTRIES, sent | {"grams": 71})
        with django_assert_num_queries(8):  # and the portion
            by_portion = api.post(ENTRIES, sent | {"portion_id": str(rye_slice.pk)})

        assert (weighed.status_code, by_portion.status_code) == (201, 201)


class TestTheTotals:
    @pytest.mark.parametrize(
        ("per_100g", "grams", "total"),
        [
            ("0.10", 0.5, 0.0),
            ("1.00", 0.49, 0.0),
            ("1.00", 0.5, 0.01),
            ("1.00", 2.5, 0.03),
            ("1.00", 4.5, 0.05),
            ("8.50", 71, 6.04),
            ("100.00", 0.01, 0.01),
            ("100.00", 100000, 100000.0),
            ("0.01", 100000, 10.0),
            ("0.00", 200, 0.0),
            (None, 200, None),
        ],
    )
    def test_are_rounded_half_up(self, api, device, per_100g, grams, total):
        value = None if per_100g is None else Decimal(per_100g)
        product = ProductFactory(device=device, protein_100g=value, carbs_100g=value, fat_100g=value)

        response = api.post(ENTRIES, {"product_id": str(product.pk), "grams": grams, "date": DAY})

        assert response.status_code == 201
        assert [response.json()[name] for name in ("protein", "carbs", "fat")] == [total] * 3

    @pytest.mark.parametrize(
        ("kcal_100g", "grams", "kcal"),
        [(0, 100000, 0.0), (1, 0.49, 0.0), (1, 0.5, 0.01), (259, 71, 183.89), (1000, 100000, 1000000.0)],
    )
    def test_of_energy_have_two_decimal_places(self, api, device, kcal_100g, grams, kcal):
        product = ProductFactory(device=device, kcal_100g=kcal_100g)

        response = api.post(ENTRIES, {"product_id": str(product.pk), "grams": grams, "date": DAY})

        assert response.status_code == 201
        assert response.json()["kcal"] == kcal

    @pytest.mark.parametrize(
        ("weight", "quantity", "grams"),
        [
            ("10.01", 0.5, 5.01),
            ("0.01", 0.5, 0.01),
            ("0.01", 1.49, 0.01),
            ("33.33", 3, 99.99),
            ("0.03", 0.33, 0.01),
            ("10000.00", 10, 100000.0),
            ("100.00", 1000, 100000.0),
        ],
    )
    def test_come_from_the_rounded_weight_of_the_portions(self, api, device, weight, quantity, grams):
        product = ProductFactory(device=device, kcal_100g=1000)
        portion = PortionFactory(product=product, grams=Decimal(weight))

        response = api.post(
            ENTRIES,
            {"product_id": str(product.pk), "portion_id": str(portion.pk), "quantity": quantity, "date": DAY},
        )

        assert response.status_code == 201
        assert response.json()["grams"] == grams
        assert response.json()["kcal"] == round(grams * 10, 2)

    def test_are_stored_as_decimals(self, api, device, rye):
        api.post(ENTRIES, {"product_id": str(rye.pk), "grams": 0.30000000000000004, "date": DAY})

        entry = device.food_entries.get()
        assert [str(value) for value in (entry.grams, entry.kcal, entry.carbs)] == ["0.30", "0.78", "0.14"]


class TestAStoredEntry:
    @pytest.fixture
    def paths(self, by_weight, by_portion) -> list[str]:
        return [f"{ENTRIES}/{entry.pk}" for entry in (by_weight, by_portion)]

    def test_does_not_change_with_the_product(self, api, rye, paths):
        before = [api.get(path).json() for path in paths]

        changed = api.patch(
            f"/v1/products/{rye.pk}",
            {"name": "Wheat", "kcal_100g": 1, "protein_100g": None, "carbs_100g": 0, "fat_100g": 100},
        )

        assert changed.status_code == 200
        assert [api.get(path).json() for path in paths] == before

    def test_does_not_change_with_the_portion(self, api, rye_slice, paths):
        before = [api.get(path).json() for path in paths]

        changed = api.patch(f"/v1/portions/{rye_slice.pk}", {"name": "Crumb", "grams": 1})

        assert changed.status_code == 200
        assert [api.get(path).json() for path in paths] == before

    @pytest.mark.parametrize("kind", ["products", "portions"])
    def test_does_not_change_if_the_product_or_the_portion_is_deleted(self, api, rye, rye_slice, paths, kind):
        before = [api.get(path).json() for path in paths]

        deleted = api.delete(f"/v1/{kind}/{rye.pk if kind == 'products' else rye_slice.pk}")

        assert deleted.status_code == 204
        assert [api.get(path).json() for path in paths] == before
        assert sorted(row["id"] for row in api.get(ENTRIES).json()) == sorted(row["id"] for row in before)

    def test_has_the_current_values_of_the_product_if_created_later(self, api, rye, rye_slice, paths):
        api.patch(f"/v1/products/{rye.pk}", {"name": "Wheat", "kcal_100g": 100, "protein_100g": None})
        api.patch(f"/v1/portions/{rye_slice.pk}", {"grams": 50})

        response = api.post(ENTRIES, {"product_id": str(rye.pk), "portion_id": str(rye_slice.pk), "date": DAY})

        assert response.status_code == 201
        assert response.json()["product_name"] == "Wheat"
        assert [response.json()[name] for name in ("grams", "kcal", "protein", "carbs")] == [50.0, 50.0, None, 24.15]


class TestRetryCreateEntry:
    @pytest.mark.parametrize(
        "body",
        [
            {"grams": 71, "date": DAY},
            {"grams": 1, "date": "2020-02-20", "meal_type": "dinner"},
            {"grams": -1, "date": "yesterday", "meal_type": "brunch", "quantity": "x"},
            {"product_id": str(uuid4()), "portion_id": str(uuid4())},
            {"product_id": None},
            {},
        ],
        ids=["the same", "other values", "bad values", "unknown rows", "null", "nothing"],
    )
    @pytest.mark.parametrize("chosen", [ID, ID.upper()])
    def test_returns_the_stored_row_whatever_else_is_sent(self, api, rye, all_rows, chosen, body):
        product = {"product_id": str(rye.pk)}
        first = api.post(ENTRIES, {"id": ID, **product, "grams": 71, "date": DAY})
        before = all_rows()

        response = api.post(ENTRIES, {"id": chosen, **product, **body})

        assert response.status_code == 200
        assert response.json() == first.json()
        assert all_rows() == before

    @pytest.mark.parametrize("gone", ["products", "portions"])
    def test_returns_the_stored_row_if_its_product_or_portion_is_deleted(self, api, rye, rye_slice, all_rows, gone):
        sent = {"id": ID, "product_id": str(rye.pk), "portion_id": str(rye_slice.pk), "quantity": 2, "date": DAY}
        first = api.post(ENTRIES, sent)
        api.delete(f"/v1/{gone}/{rye.pk if gone == 'products' else rye_slice.pk}")
        before = all_rows()

        response = api.post(ENTRIES, sent)

        assert response.status_code == 200
        assert response.json() == first.json()
        assert all_rows() == before

    def test_returns_the_current_state_of_the_row(self, api, rye, all_rows):
        sent = {"id": ID, "product_id": str(rye.pk), "grams": 71, "date": DAY}
        api.post(ENTRIES, sent)
        changed = api.patch(f"{ENTRIES}/{ID}", {"grams": 100})
        before = all_rows()

        response = api.post(ENTRIES, sent)

        assert response.status_code == 200
        assert response.json() == changed.json()
        assert response.json()["grams"] == 100.0
        assert all_rows() == before

    def test_returns_409_if_the_row_is_deleted(self, api, rye, all_rows):
        sent = {"id": ID, "product_id": str(rye.pk), "grams": 71, "date": DAY}
        api.post(ENTRIES, sent)
        api.delete(f"{ENTRIES}/{ID}")
        before = all_rows()

        response = api.post(ENTRIES, sent)

        assert response.status_code == 409
        assert response.json() == id_taken_body(ID)
        assert all_rows() == before

    @pytest.mark.parametrize("is_deleted", [False, True], ids=["live", "deleted"])
    def test_returns_409_if_the_row_belongs_to_another_device(
        self, api, other_api, other_device, rye, all_rows, is_deleted
    ):
        FoodEntryFactory(id=ID, device=other_device)
        if is_deleted:
            other_api.delete(f"{ENTRIES}/{ID}")
        before = all_rows()

        response = api.post(ENTRIES, {"id": ID.upper(), "product_id": str(rye.pk), "grams": 71, "date": DAY})

        assert response.status_code == 409
        assert response.json() == id_taken_body(ID)
        assert all_rows() == before

    def test_returns_422_for_bad_values_even_if_the_id_is_taken(self, api, other_device, rye, all_rows):
        FoodEntryFactory(id=ID, device=other_device)
        before = all_rows()

        response = api.post(ENTRIES, {"id": ID, "product_id": str(rye.pk), "grams": 0, "date": DAY})

        assert response.status_code == 422
        assert [error["loc"] for error in response.json()["errors"]] == [["grams"]]
        assert all_rows() == before


class TestReferences:
    """Ids that are not live rows of the caller get the same error, whatever they are."""

    def test_to_any_product_not_of_the_caller_get_the_same_error(self, api, device, other_device, rye, all_rows):
        theirs, gone = ProductFactory(device=other_device), ProductFactory(device=device)
        api.delete(f"/v1/products/{gone.pk}")
        a_portion = rye.portions.get()
        before = all_rows()

        responses = [
            api.post(ENTRIES, {"product_id": str(row_id), "grams": 71, "date": DAY})
            for row_id in (theirs.pk, gone.pk, a_portion.pk, device.pk, uuid4())
        ]

        assert {response.status_code for response in responses} == {422}
        assert len({response.content for response in responses}) == 1
        assert responses[0].json() == validation_error_body(NO_PRODUCT)
        assert all_rows() == before

    def test_to_any_portion_not_of_the_product_get_the_same_error(
        self, api, device, other_device, rye, rye_slice, oats_cup, all_rows
    ):
        theirs = PortionFactory(product=ProductFactory(device=other_device))
        gone = PortionFactory(product=rye)
        gone_with_its_product = ProductFactory(device=device)
        with_it = gone_with_its_product.portions.get()
        api.delete(f"/v1/portions/{gone.pk}")
        api.delete(f"/v1/products/{gone_with_its_product.pk}")
        before = all_rows()

        responses = [
            api.post(ENTRIES, {"product_id": str(rye.pk), "portion_id": str(row_id), "quantity": 2, "date": DAY})
            for row_id in (theirs.pk, gone.pk, with_it.pk, oats_cup.pk, rye.pk, uuid4())
        ]

        assert {response.status_code for response in responses} == {422}
        assert len({response.content for response in responses}) == 1
        assert responses[0].json() == validation_error_body(NO_PORTION)
        assert all_rows() == before

    def test_are_both_reported_if_both_are_unknown(self, api, all_rows):
        before = all_rows()

        response = api.post(ENTRIES, {"product_id": str(uuid4()), "portion_id": str(uuid4()), "date": DAY})

        assert response.status_code == 422
        assert response.json() == validation_error_body(NO_PRODUCT, NO_PORTION)
        assert all_rows() == before


class TestAnAmount:
    """Either grams, or a portion and a quantity."""

    @pytest.mark.parametrize(
        ("amount", "error"),
        [
            ({}, ("grams", "Required unless a portion is given.", "required")),
            ({"grams": None}, ("grams", "Required unless a portion is given.", "required")),
            ({"portion_id": None}, ("grams", "Required unless a portion is given.", "required")),
            ({"quantity": 2}, ("quantity", "Not allowed without a portion.", "without_portion")),
            ({"quantity": 2, "grams": 71}, ("quantity", "Not allowed without a portion.", "without_portion")),
            ({"quantity": 2, "portion_id": None}, ("quantity", "Not allowed without a portion.", "without_portion")),
            (
                {"portion_id": "slice", "grams": 71},
                ("grams", "Not allowed together with `portion_id`; send `quantity`.", "with_portion"),
            ),
            (
                {"portion_id": "slice", "quantity": 2, "grams": 71},
                ("grams", "Not allowed together with `portion_id`; send `quantity`.", "with_portion"),
            ),
        ],
        ids=[
            "nothing",
            "no grams",
            "no portion",
            "quantity alone",
            "quantity and grams",
            "quantity and no portion",
            "portion and grams",
            "all three",
        ],
    )
    def test_is_refused(self, api, rye, rye_slice, all_rows, amount, error):
        if amount.get("portion_id"):
            amount = amount | {"portion_id": str(rye_slice.pk)}
        before = all_rows()

        response = api.post(ENTRIES, {"product_id": str(rye.pk), "date": DAY, **amount})

        assert response.status_code == 422
        assert response.json() == validation_error_body(error)
        assert all_rows() == before

    @pytest.mark.parametrize(
        ("weight", "quantity"),
        [("10000.00", 10.01), ("100.01", 1000), ("0.01", 0.49), ("0.02", 0.24), ("10000.00", 1000)],
    )
    def test_is_refused_if_the_total_weight_is_out_of_bounds(self, api, rye, all_rows, weight, quantity):
        portion = PortionFactory(product=rye, grams=Decimal(weight))
        before = all_rows()

        response = api.post(
            ENTRIES, {"product_id": str(rye.pk), "portion_id": str(portion.pk), "quantity": quantity, "date": DAY}
        )

        assert response.status_code == 422
        assert response.json() == validation_error_body(
            ("quantity", "The total weight must be between 0.01 and 100000 g.", "grams_out_of_bounds")
        )
        assert all_rows() == before

    def test_lists_all_errors(self, api, all_rows):
        before = all_rows()

        response = api.post(
            ENTRIES, {"product_id": "rye", "quantity": 0, "grams": 0, "date": "today", "time": "noon", "meal_type": ""}
        )

        assert response.status_code == 422
        assert sorted(error["loc"] for error in response.json()["errors"]) == [
            ["date"],
            ["grams"],
            ["meal_type"],
            ["product_id"],
            ["quantity"],
            ["time"],
        ]
        assert all_rows() == before
