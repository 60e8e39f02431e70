"""Updates of food entries. The entry has 2 slices of rye bread (71 g), or 200 g of it by weight."""

from decimal import Decimal
from uuid import uuid4

import pytest
from django.utils.dateparse import parse_datetime

from food_entries.models import FoodEntry
from food_entries.tests.factories import FoodEntryFactory
from ownership.models import change_set
from products.models import Portion
from products.tests.factories import PortionFactory, ProductFactory
from tests.harness.errors import NO_PORTION, NO_PRODUCT, validation_error_body

ENTRIES = "/v1/food-entries"


def totals(*amounts) -> dict:
    names = ("kcal", "protein", "carbs", "fat", "sugars", "saturated_fat", "fiber", "salt")
    return dict(zip(names, amounts, strict=True))


WEIGHED = {"portion_id": None, "portion_name": None, "portion_grams": None, "quantity": None}
LOAF = {"portion_id": "rye_loaf", "portion_name": "Loaf", "portion_grams": 500.0}
CUP = {"portion_id": "oats_cup", "portion_name": "Cup", "portion_grams": 80.0}
OF_OATS = {"product_id": "oats", "product_name": "Oats"}

# A label, the fixture of the entry, the request body, and all values that change. Names stand for the ids of rows.
CHANGES = [
    ("the day", "by_portion", {"date": "2026-02-01"}, {"date": "2026-02-01"}),
    ("the meal", "by_portion", {"meal_type": "dinner"}, {"meal_type": "dinner"}),
    ("the time", "by_weight", {"time": "12:15"}, {"time": "12:15:00.000"}),
    (
        "a quantity",
        "by_portion",
        {"quantity": 3},
        {"quantity": 3.0, "grams": 106.5, **totals(275.84, 9.05, 51.44, 3.51, 4.1, 0.67, 6.18, 1.61)},
    ),
    (
        "a quantity and a meal",
        "by_portion",
        {"quantity": 0.5, "meal_type": "dinner"},
        {
            "quantity": 0.5,
            "grams": 17.75,
            "meal_type": "dinner",
            **totals(45.97, 1.51, 8.57, 0.59, 0.68, 0.11, 1.03, 0.27),
        },
    ),
    (
        "grams",
        "by_portion",
        {"grams": 100},
        {"grams": 100.0, **WEIGHED, **totals(259.0, 8.5, 48.3, 3.3, 3.85, 0.63, 5.8, 1.51)},
    ),
    (
        "grams and no quantity",
        "by_portion",
        {"grams": 100, "quantity": None},
        {"grams": 100.0, **WEIGHED, **totals(259.0, 8.5, 48.3, 3.3, 3.85, 0.63, 5.8, 1.51)},
    ),
    (
        "grams and no portion",
        "by_portion",
        {"grams": 100, "portion_id": None},
        {"grams": 100.0, **WEIGHED, **totals(259.0, 8.5, 48.3, 3.3, 3.85, 0.63, 5.8, 1.51)},
    ),
    ("no portion", "by_portion", {"portion_id": None}, WEIGHED),
    ("no portion and no quantity", "by_portion", {"portion_id": None, "quantity": None}, WEIGHED),
    ("no portion and the stored quantity", "by_portion", {"portion_id": None, "quantity": 2}, WEIGHED),
    ("no portion and the stored grams", "by_portion", {"portion_id": None, "grams": 71}, WEIGHED),
    (
        "a portion",
        "by_portion",
        {"portion_id": "rye_loaf"},
        {**LOAF, "grams": 1000.0, **totals(2590.0, 85.0, 483.0, 33.0, 38.5, 6.3, 58.0, 15.1)},
    ),
    (
        "a portion and a quantity",
        "by_portion",
        {"portion_id": "rye_loaf", "quantity": 0.5},
        {**LOAF, "quantity": 0.5, "grams": 250.0, **totals(647.5, 21.25, 120.75, 8.25, 9.63, 1.58, 14.5, 3.78)},
    ),
    (
        "a portion and no quantity",
        "by_portion",
        {"portion_id": "rye_loaf", "quantity": None, "grams": None},
        {**LOAF, "grams": 1000.0, **totals(2590.0, 85.0, 483.0, 33.0, 38.5, 6.3, 58.0, 15.1)},
    ),
    (
        "a product",
        "by_portion",
        {"product_id": "oats"},
        {**OF_OATS, **WEIGHED, **totals(262.7, 9.59, None, 4.97, None, 0.85, 7.1, 0.01)},
    ),
    (
        "a product and no quantity",
        "by_portion",
        {"product_id": "oats", "quantity": None},
        {**OF_OATS, **WEIGHED, **totals(262.7, 9.59, None, 4.97, None, 0.85, 7.1, 0.01)},
    ),
    (
        "a product and the stored portion",
        "by_portion",
        {"product_id": "oats", "portion_id": "rye_slice", "quantity": 2},
        {**OF_OATS, **WEIGHED, **totals(262.7, 9.59, None, 4.97, None, 0.85, 7.1, 0.01)},
    ),
    (
        "a product and no portion",
        "by_portion",
        {"product_id": "oats", "portion_id": None},
        {**OF_OATS, **WEIGHED, **totals(262.7, 9.59, None, 4.97, None, 0.85, 7.1, 0.01)},
    ),
    (
        "a product and grams",
        "by_portion",
        {"product_id": "oats", "grams": 50},
        {**OF_OATS, **WEIGHED, "grams": 50.0, **totals(185.0, 6.75, None, 3.5, None, 0.6, 5.0, 0.01)},
    ),
    (
        "a product and its portion",
        "by_portion",
        {"product_id": "oats", "portion_id": "oats_cup"},
        {**OF_OATS, **CUP, "grams": 160.0, **totals(592.0, 21.6, None, 11.2, None, 1.92, 16.0, 0.03)},
    ),
    (
        "a product, its portion and a quantity",
        "by_portion",
        {"product_id": "oats", "portion_id": "oats_cup", "quantity": 0.5},
        {**OF_OATS, **CUP, "quantity": 0.5, "grams": 40.0, **totals(148.0, 5.4, None, 2.8, None, 0.48, 4.0, 0.01)},
    ),
    ("grams", "by_weight", {"grams": 100}, {"grams": 100.0, **totals(259.0, 8.5, 48.3, 3.3, 3.85, 0.63, 5.8, 1.51)}),
    (
        "a portion",
        "by_weight",
        {"portion_id": "rye_loaf"},
        {**LOAF, "quantity": 1.0, "grams": 500.0, **totals(1295.0, 42.5, 241.5, 16.5, 19.25, 3.15, 29.0, 7.55)},
    ),
    (
        "a portion and a quantity",
        "by_weight",
        {"portion_id": "rye_loaf", "quantity": 0.1},
        {**LOAF, "quantity": 0.1, "grams": 50.0, **totals(129.5, 4.25, 24.15, 1.65, 1.93, 0.32, 2.9, 0.76)},
    ),
    (
        "a product",
        "by_weight",
        {"product_id": "oats"},
        {**OF_OATS, **totals(740.0, 27.0, None, 14.0, None, 2.4, 20.0, 0.04)},
    ),
    (
        "a product and grams",
        "by_weight",
        {"product_id": "oats", "grams": 50},
        {**OF_OATS, "grams": 50.0, **totals(185.0, 6.75, None, 3.5, None, 0.6, 5.0, 0.01)},
    ),
    (
        "a product and its portion",
        "by_weight",
        {"product_id": "oats", "portion_id": "oats_cup"},
        {**OF_OATS, **CUP, "quantity": 1.0, "grams": 80.0, **totals(296.0, 10.8, None, 5.6, None, 0.96, 8.0, 0.02)},
    ),
]

MISSING = "This field may not be null."
WITHOUT_PORTION = ("quantity", "Not allowed without a portion.", "without_portion")
WITH_PORTION = ("grams", "Not allowed together with `portion_id`; send `quantity`.", "with_portion")
OUT_OF_BOUNDS = ("quantity", "The total weight must be between 0.01 and 100000 g.", "grams_out_of_bounds")

REFUSALS = [
    ("grams and a quantity", "by_portion", {"grams": 100, "quantity": 3}, WITH_PORTION),
    ("grams and a portion", "by_portion", {"grams": 100, "portion_id": "rye_loaf"}, WITH_PORTION),
    ("all three", "by_portion", {"grams": 100, "portion_id": "rye_loaf", "quantity": 3}, WITH_PORTION),
    ("no grams", "by_portion", {"grams": None}, ("grams", MISSING, "null")),
    ("no quantity", "by_portion", {"quantity": None}, ("quantity", MISSING, "null")),
    ("no portion and a quantity", "by_portion", {"portion_id": None, "quantity": 3}, WITHOUT_PORTION),
    ("no portion and no grams", "by_portion", {"portion_id": None, "grams": None}, ("grams", MISSING, "null")),
    ("a product and a quantity", "by_portion", {"product_id": "oats", "quantity": 3}, WITHOUT_PORTION),
    ("a product and another's portion", "by_portion", {"product_id": "oats", "portion_id": "rye_loaf"}, NO_PORTION),
    ("another product's portion", "by_portion", {"portion_id": "oats_cup"}, NO_PORTION),
    ("no product", "by_portion", {"product_id": None}, ("product_id", MISSING, "null")),
    ("no day", "by_portion", {"date": None}, ("date", MISSING, "null")),
    ("no meal", "by_portion", {"meal_type": None}, ("meal_type", MISSING, "null")),
    ("too many", "by_portion", {"portion_id": "rye_loaf", "quantity": 200.01}, OUT_OF_BOUNDS),
    ("a quantity", "by_weight", {"quantity": 2}, WITHOUT_PORTION),
    ("a quantity and grams", "by_weight", {"quantity": 2, "grams": 100}, WITHOUT_PORTION),
    ("a portion and grams", "by_weight", {**LOAF, "grams": 100}, WITH_PORTION),
    ("no grams", "by_weight", {"grams": None}, ("grams", MISSING, "null")),
    ("a product and no grams", "by_weight", {"product_id": "oats", "grams": None}, ("grams", MISSING, "null")),
    ("another product's portion", "by_weight", {"portion_id": "oats_cup"}, NO_PORTION),
]


def labels(rows):
    return [f"{what} to {start}".replace(" ", "_") for what, start, *_ in rows]


@pytest.fixture
def ids(rye, rye_slice, rye_loaf, oats, oats_cup) -> dict:
    rows = {"rye": rye, "rye_slice": rye_slice, "rye_loaf": rye_loaf, "oats": oats, "oats_cup": oats_cup}
    return {name: str(row.pk) for name, row in rows.items()}


@pytest.fixture
def entry(request, ids, by_weight, by_portion) -> str:
    """The path of the entry that a row of a table names."""
    start = {"by_weight": by_weight, "by_portion": by_portion}[request.param]
    return f"{ENTRIES}/{start.pk}"


def with_ids(values: dict, ids: dict) -> dict:
    return {name: ids.get(value, value) if isinstance(value, str) else value for name, value in values.items()}


def changes(rows):
    return pytest.mark.parametrize(
        ("entry", "sent", "changed"), [row[1:] for row in rows], ids=labels(rows), indirect=["entry"]
    )


class TestUpdateEntry:
    @pytest.mark.parametrize("as_read", [False, True], ids=["alone", "in the whole row"])
    @changes(CHANGES)
    def test_changes_the_values_sent_and_those_derived_from_them(self, api, device, ids, entry, sent, changed, as_read):
        """Values that equal the stored ones count as not sent, so clients can send the whole row."""
        before = api.get(entry).json()
        device.refresh_from_db()
        revision = device.revision

        response = api.patch(entry, (before if as_read else {}) | with_ids(sent, ids))

        device.refresh_from_db()
        assert response.status_code == 200
        assert response.json() == before | with_ids(changed, ids) | {"updated_at": response.json()["updated_at"]}
        assert parse_datetime(response.json()["updated_at"]) > parse_datetime(before["created_at"])
        assert api.get(entry).json() == response.json()
        assert device.revision == revision + 1
        assert device.revision == FoodEntry.objects.for_device(device).get(pk=before["id"]).revision

    @changes([row for row in CHANGES if row[0] in ("a quantity", "grams", "no portion", "a portion", "the meal")])
    def test_keeps_the_copied_values_if_the_product_was_updated(self, api, ids, entry, sent, changed):
        before = api.get(entry).json()
        api.patch(f"/v1/products/{ids['rye']}", {"name": "Wheat", "kcal_100g": 1, "carbs_100g": None, "salt_100g": 9})
        api.patch(f"/v1/portions/{ids['rye_slice']}", {"grams": 1})

        response = api.put(entry, before | with_ids(sent, ids))

        assert response.status_code == 200
        assert response.json() == before | with_ids(changed, ids) | {"updated_at": response.json()["updated_at"]}

    @changes([row for row in CHANGES if not {"rye_loaf"} & set(map(str, row[2].values()))])
    def test_works_after_the_product_was_deleted(self, api, ids, entry, sent, changed):
        before = api.get(entry).json()
        api.delete(f"/v1/products/{ids['rye']}")

        response = api.put(entry, before | with_ids(sent, ids))

        assert response.status_code == 200
        assert response.json() == before | with_ids(changed, ids) | {"updated_at": response.json()["updated_at"]}

    @pytest.mark.parametrize("as_read", [False, True], ids=["alone", "in the whole row"])
    @pytest.mark.parametrize(
        ("entry", "sent", "error"), [row[1:] for row in REFUSALS], ids=labels(REFUSALS), indirect=["entry"]
    )
    def test_is_refused(self, api, ids, entry, all_rows, sent, error, as_read):
        read, before = api.get(entry).json(), all_rows()

        response = api.patch(entry, (read if as_read else {}) | with_ids(sent, ids))

        assert response.status_code == 422
        assert response.json() == validation_error_body(error)
        assert all_rows() == before

    def test_ignores_the_id_and_read_only_fields(self, api, by_weight, by_portion):
        before = api.get(f"{ENTRIES}/{by_weight.pk}").json()

        response = api.put(
            f"{ENTRIES}/{by_weight.pk}",
            {
                "id": str(by_portion.pk),
                "meal_type": "dinner",
                "product_name": "Wheat",
                "kcal": 1,
                "fat": "x",
                "kcal_100g": 1,
                "revision": 1,
                "created_at": "2001-01-01T00:00:00Z",
                "deleted_at": "2001-01-01T00:00:00Z",
                "mood": "fine",
            },
        )

        assert response.status_code == 200
        assert response.json() == before | {"meal_type": "dinner", "updated_at": response.json()["updated_at"]}
        assert api.get(f"{ENTRIES}/{by_portion.pk}").json()["meal_type"] == "breakfast"

    @pytest.mark.parametrize("method", ["put", "patch"])
    def test_works_the_same_with_put_and_patch(self, api, by_portion, method):
        response = getattr(api, method)(f"{ENTRIES}/{by_portion.pk}", {"quantity": 4})

        assert response.status_code == 200
        assert (response.json()["grams"], response.json()["meal_type"]) == (142.0, "breakfast")


class TestUnchangedValues:
    """A value that equals the stored one counts as not sent."""

    @pytest.mark.parametrize("meanwhile", ["nothing", "edited", "portion deleted", "product deleted"])
    @pytest.mark.parametrize("entry", ["by_portion", "by_weight"], indirect=True)
    def test_are_not_written_if_the_whole_row_is_sent_back(self, api, ids, entry, all_rows, meanwhile):
        read = api.get(entry).json()
        if meanwhile == "edited":
            api.patch(f"/v1/products/{ids['rye']}", {"name": "Wheat", "kcal_100g": 1})
            api.patch(f"/v1/portions/{ids['rye_slice']}", {"grams": 1})
        elif meanwhile == "portion deleted":
            api.delete(f"/v1/portions/{ids['rye_slice']}")
        elif meanwhile == "product deleted":
            api.delete(f"/v1/products/{ids['rye']}")
        before = all_rows()

        responses = [api.put(entry, read), api.patch(entry, read)]

        assert [(response.status_code, response.json()) for response in responses] == [(200, read)] * 2
        assert all_rows() == before

    @pytest.mark.parametrize(
        ("entry", "sent"),
        [
            ("by_portion", {}),
            ("by_portion", {"product_id": "rye"}),
            ("by_portion", {"portion_id": "rye_slice"}),
            ("by_portion", {"product_id": "rye", "portion_id": "rye_slice"}),
            ("by_portion", {"quantity": 2}),
            ("by_portion", {"quantity": 2.004}),
            ("by_portion", {"grams": 71}),
            ("by_portion", {"grams": 70.99500000000001}),
            ("by_portion", {"grams": 71, "quantity": 2}),
            ("by_portion", {"grams": 71, "portion_id": "rye_slice"}),
            ("by_portion", {"date": "2026-01-05", "meal_type": "breakfast"}),
            ("by_portion", {"kcal": 1, "product_name": "Wheat", "created_at": None, "updated_at": "now"}),
            ("by_weight", {"grams": 200}),
            ("by_weight", {"product_id": "rye", "grams": 200}),
            ("by_weight", {"portion_id": None}),
            ("by_weight", {"quantity": None}),
            ("by_weight", {"portion_id": None, "quantity": None, "grams": 200}),
        ],
        indirect=["entry"],
    )
    def test_are_not_written_if_only_some_are_sent(self, api, ids, entry, all_rows, sent):
        api.patch(f"/v1/products/{ids['rye']}", {"name": "Wheat", "kcal_100g": 1})
        read, before = api.get(entry).json(), all_rows()

        response = api.patch(entry, with_ids(sent, ids))

        assert response.status_code == 200
        assert response.json() == read
        assert all_rows() == before

    @pytest.mark.parametrize("entry", ["by_portion"], indirect=True)
    def test_are_recognized_by_an_id_in_upper_case(self, api, ids, entry, all_rows):
        before = all_rows()

        response = api.patch(entry, {"product_id": ids["rye"].upper(), "portion_id": ids["rye_slice"].upper()})

        assert response.status_code == 200
        assert all_rows() == before


class TestAQuantity:
    def test_goes_there_and_back_without_losing_weight(self, api, device):
        """A tenth of 0.06 g is rounded to 0.01 g. The whole portion weighs 0.06 g again."""
        product = ProductFactory(device=device)
        portion = PortionFactory(product=product, grams=Decimal("0.06"))
        sent = {"product_id": str(product.pk), "portion_id": str(portion.pk), "date": "2026-01-05"}
        entry = api.post(ENTRIES, sent).json()

        grams = [api.patch(f"{ENTRIES}/{entry['id']}", {"quantity": n}).json()["grams"] for n in (0.1, 1, 1000, 0.5)]

        assert grams == [0.01, 0.06, 60.0, 0.03]

    def test_counts_the_portion_as_it_was_logged(self, api, by_portion, rye_slice):
        api.patch(f"/v1/portions/{rye_slice.pk}", {"grams": 1, "name": "Crumb"})

        response = api.patch(f"{ENTRIES}/{by_portion.pk}", {"quantity": 3})

        row = response.json()
        assert (row["grams"], row["portion_name"], row["portion_grams"]) == (106.5, "Slice", 35.5)

    def test_counts_the_portion_whatever_the_stored_grams_are(self, api, rye, rye_slice):
        """A push stores the grams as they are sent."""
        entry = FoodEntryFactory(product=rye, portion=rye_slice, quantity=Decimal(2), grams=Decimal(100))

        response = api.patch(f"{ENTRIES}/{entry.pk}", {"quantity": 3})

        assert response.json()["grams"] == 106.5

    @pytest.mark.parametrize(
        ("grams", "old", "new", "rescaled"),
        [
            ("100.00", "3.00", 1, 33.33),
            ("200.00", "3.00", 1, 66.67),
            ("0.01", "2.00", 1, 0.01),
            ("0.03", "2.00", 1, 0.02),
            ("0.01", "0.01", 1000, 1000.0),
            ("100.00", "0.01", 10, 100000.0),
            ("71.00", None, 2, 142.0),
        ],
    )
    def test_rescales_the_grams_of_an_entry_that_the_previous_release_wrote(
        self, api, device, rye, rye_slice, grams, old, new, rescaled
    ):
        eaten = {"portion": rye_slice, "quantity": old and Decimal(old), "grams": Decimal(grams)}
        entry = FoodEntryFactory(product=rye, **eaten)
        with change_set(device):
            device.food_entries.update(portion_name=None, portion_grams=None)

        response = api.patch(f"{ENTRIES}/{entry.pk}", {"quantity": new})

        assert response.status_code == 200
        assert response.json()["grams"] == rescaled
        assert response.json()["quantity"] == new

    @pytest.mark.parametrize(("weight", "quantity"), [("10000", 10.01), ("0.01", 0.04)])
    def test_is_refused_if_the_total_weight_is_out_of_bounds(self, api, rye, all_rows, weight, quantity):
        portion = PortionFactory(product=rye, grams=Decimal(weight))
        entry = FoodEntryFactory(product=rye, portion=portion, quantity=Decimal(1), grams=Decimal(weight))
        before = all_rows()

        response = api.patch(f"{ENTRIES}/{entry.pk}", {"quantity": quantity, "meal_type": "dinner"})

        assert response.status_code == 422
        assert response.json() == validation_error_body(OUT_OF_BOUNDS)
        assert all_rows() == before


class TestANewProduct:
    def test_is_copied_with_its_current_values(self, api, ids, by_portion):
        entry = f"{ENTRIES}/{by_portion.pk}"
        api.patch(f"/v1/products/{ids['oats']}", {"name": "Oat flakes", "kcal_100g": 100, "carbs_100g": 60})

        response = api.patch(entry, {"product_id": ids["oats"], "portion_id": ids["oats_cup"]})

        assert response.status_code == 200
        assert response.json()["product_name"] == "Oat flakes"
        assert (response.json()["kcal"], response.json()["carbs"]) == (160.0, 96.0)

    def test_is_copied_again_if_the_entry_returns_to_it(self, api, ids, by_weight):
        entry = f"{ENTRIES}/{by_weight.pk}"
        api.patch(entry, {"product_id": ids["oats"]})
        api.patch(f"/v1/products/{ids['rye']}", {"name": "Wheat", "kcal_100g": 100})

        response = api.patch(entry, {"product_id": ids["rye"]})

        assert response.status_code == 200
        assert (response.json()["product_name"], response.json()["kcal"]) == ("Wheat", 200.0)

    def test_determines_the_totals_of_later_updates(self, api, ids, by_weight):
        entry = f"{ENTRIES}/{by_weight.pk}"
        api.patch(entry, {"product_id": ids["oats"]})
        api.delete(f"/v1/products/{ids['oats']}")

        response = api.patch(entry, {"grams": 100})

        assert response.status_code == 200
        assert [response.json()[name] for name in ("kcal", "protein", "carbs", "fat")] == [370.0, 13.5, None, 7.0]

    def test_gets_the_same_error_unless_it_is_a_live_one_of_the_caller(
        self, api, device, other_device, by_portion, all_rows
    ):
        theirs, gone = ProductFactory(device=other_device), ProductFactory(device=device)
        api.delete(f"/v1/products/{gone.pk}")
        before = all_rows()

        responses = [
            api.patch(f"{ENTRIES}/{by_portion.pk}", {"product_id": str(row_id), "meal_type": "dinner"})
            for row_id in (theirs.pk, gone.pk, by_portion.portion_id, uuid4())
        ]

        assert {response.status_code for response in responses} == {422}
        assert len({response.content for response in responses}) == 1
        assert responses[0].json() == validation_error_body(NO_PRODUCT)
        assert all_rows() == before


class TestANewPortion:
    def test_is_used_with_its_current_weight(self, api, ids, by_portion):
        api.patch(f"/v1/portions/{ids['rye_loaf']}", {"grams": 750})

        response = api.patch(f"{ENTRIES}/{by_portion.pk}", {"portion_id": ids["rye_loaf"]})

        assert response.status_code == 200
        assert (response.json()["grams"], response.json()["quantity"]) == (1500.0, 2.0)

    def test_is_used_with_its_current_weight_if_the_entry_returns_to_it(self, api, ids, by_portion):
        entry = f"{ENTRIES}/{by_portion.pk}"
        api.patch(entry, {"portion_id": None})
        api.patch(f"/v1/portions/{ids['rye_slice']}", {"grams": 50})

        response = api.patch(entry, {"portion_id": ids["rye_slice"], "quantity": 2})

        assert response.status_code == 200
        assert response.json()["grams"] == 100.0

    def test_gets_the_same_error_unless_it_is_a_live_one_of_the_product(
        self, api, device, other_device, rye, oats_cup, by_portion, all_rows
    ):
        theirs, gone = PortionFactory(product=ProductFactory(device=other_device)), PortionFactory(product=rye)
        api.delete(f"/v1/portions/{gone.pk}")
        before = all_rows()

        responses = [
            api.patch(f"{ENTRIES}/{by_portion.pk}", {"portion_id": str(row_id), "meal_type": "dinner"})
            for row_id in (theirs.pk, gone.pk, oats_cup.pk, rye.pk, uuid4())
        ]

        assert {response.status_code for response in responses} == {422}
        assert len({response.content for response in responses}) == 1
        assert responses[0].json() == validation_error_body(NO_PORTION)
        assert all_rows() == before

    @pytest.mark.parametrize("entry", ["by_portion", "by_weight"], indirect=True)
    def test_is_refused_if_its_product_was_deleted(self, api, device, ids, entry, all_rows):
        api.delete(f"/v1/products/{ids['rye']}")
        assert not Portion.objects.for_device(device).filter(product=ids["rye"]).exists()
        before = all_rows()

        response = api.patch(entry, {"portion_id": ids["rye_loaf"]})

        assert response.status_code == 422
        assert response.json() == validation_error_body(NO_PORTION)
        assert all_rows() == before
