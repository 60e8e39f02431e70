"""The columns of a label: nutrients, brand, unit and so on, pushed by phones of this version and of earlier ones."""

from uuid import uuid4

import pytest

from tests.harness.sync import (
    ALL_STORED,
    entry,
    errors_of,
    live_rows,
    portion,
    product,
    pull_changes,
    push_ok,
    revision,
)

LABEL = {
    "brand": "Mill & Oven",
    "sugars_100g": 3.85,
    "saturated_fat_100g": 0.63,
    "fiber_100g": 0.0,
    "salt_100g": 1.51,
    "unit": "ml",
    "is_favorite": True,
    "catalog_food_id": "7f1c2f6e-61a5-5a6a-9d55-0a3f0c5f8e10",
}


def without_label(row: dict) -> dict:
    """Return a row as an app sends it that does not know these columns."""
    return {name: value for name, value in row.items() if name not in LABEL}


@pytest.fixture
def milk(api) -> dict:
    row = product(name="Milk", **LABEL)
    assert push_ok(api, products={"created": [row]}) == ALL_STORED
    return row


class TestAPhone:
    def test_gets_back_what_it_has_pushed(self, api, milk):
        assert live_rows(api, "products") == {milk["id"]: milk}
        assert api.get(f"/v1/products/{milk['id']}").json().items() >= LABEL.items()

    def test_can_send_each_column_alone(self, api, milk):
        other = {
            **{name: 1.0 for name in LABEL if name.endswith("_100g")},
            "brand": None,
            "unit": "g",
            "is_favorite": False,
            "catalog_food_id": None,
        }
        for name, value in other.items():
            since = revision(api)

            push_ok(api, since, products={"updated": [{"id": milk["id"], name: value}]})

            milk[name] = value
            assert pull_changes(api, since)["changes"]["products"]["updated"] == [milk]

    @pytest.mark.parametrize(
        ("values", "stored"),
        [
            ({"brand": ""}, {"brand": None}),
            ({"brand": " \u00a0"}, {"brand": None}),
            ({"brand": " Oatly "}, {"brand": "Oatly"}),
            ({"unit": ""}, {}),
            ({"unit": None}, {}),
            ({"salt_100g": 0.125}, {"salt_100g": 0.13}),
        ],
    )
    def test_hears_what_is_stored_if_that_differs_from_what_it_has_sent(self, api, milk, values, stored):
        since = revision(api)

        assert push_ok(api, since, products={"updated": [milk | values]}) == ALL_STORED

        assert pull_changes(api, since)["changes"]["products"]["updated"] == [milk | stored]

    @pytest.mark.parametrize(
        ("values", "error"),
        [
            ({"brand": "x" * 101}, ("brand", "max_length")),
            ({"brand": "\u200b"}, ("brand", "invisible")),
            ({"brand": 7}, ("brand", "invalid")),
            ({"unit": "kg"}, ("unit", "invalid_choice")),
            ({"unit": 1}, ("unit", "invalid_choice")),
            ({"is_favorite": None}, ("is_favorite", "null")),
            ({"is_favorite": 1}, ("is_favorite", "invalid")),
            ({"catalog_food_id": LABEL["catalog_food_id"].upper()}, ("catalog_food_id", "invalid")),
            ({"catalog_food_id": "00000000-0000-0000-0000-000000000000"}, ("catalog_food_id", "nil")),
            ({"catalog_food_id": ""}, ("catalog_food_id", "invalid")),
            ({"sugars_100g": 100.005}, ("sugars_100g", "max_value")),
            ({"salt_100g": -0.01}, ("salt_100g", "min_value")),
            ({"fiber_100g": "1"}, ("fiber_100g", "invalid")),
        ],
    )
    def test_hears_which_row_is_invalid(self, api, milk, values, error):
        good = product()

        answer = push_ok(api, revision(api), products={"updated": [milk | values], "created": [good]})

        assert errors_of(answer) == [("products", milk["id"], [error])]
        assert live_rows(api, "products") == {milk["id"]: milk, good["id"]: good}


class TestAPhoneOfAnEarlierVersion:
    def test_creates_products_without_a_label(self, api):
        row = without_label(product(**LABEL))

        assert push_ok(api, products={"created": [row]}) == ALL_STORED

        unknown = dict.fromkeys(LABEL) | {"unit": "g", "is_favorite": False}
        assert live_rows(api, "products") == {row["id"]: row | unknown}

    def test_erases_no_column_that_it_does_not_send(self, api, milk):
        since = revision(api)

        push_ok(api, since, products={"updated": [without_label(milk) | {"name": "Whole milk"}]})

        assert live_rows(api, "products") == {milk["id"]: milk | {"name": "Whole milk"}}

    def test_writes_nothing_if_all_that_it_sends_is_stored(self, api, milk, all_rows):
        since, before = revision(api), all_rows()

        assert push_ok(api, since, products={"updated": [without_label(milk)]}) == ALL_STORED
        assert push_ok(api, 1, products={"updated": [without_label(milk)]}) == ALL_STORED
        assert all_rows() == before

    def test_logs_the_whole_label(self, api, milk):
        eaten = entry(milk, grams=50)

        push_ok(api, revision(api), food_entries={"created": [eaten]})

        (stored,) = live_rows(api, "food_entries").values()
        assert stored["unit"] == "ml"
        amounts = {"sugars": 1.93, "saturated_fat": 0.32, "fiber": 0.0, "salt": 0.76}
        assert stored.items() >= amounts.items()

    def test_gets_the_new_columns_with_an_update_of_the_app(self, api, milk):
        """It names them in `migration`. A phone that then pushes what the library has filled in erases nothing."""
        since = revision(api)
        new = '{"from": 1, "tables": [], "columns": [{"table": "products", "columns": ["unit", "brand"]}]}'

        pulled = pull_changes(api, since, migration=new)

        assert pulled["changes"]["products"]["updated"] == [milk]


class TestAProductThatIsPushedWithPortions:
    def test_ignores_them_because_they_have_a_table(self, api):
        row = product()

        push_ok(api, products={"created": [row | {"portions": [portion(row, id=str(uuid4()))]}]})

        assert live_rows(api, "products") == {row["id"]: row}
        assert [each["name"] for each in live_rows(api, "portions").values()] == ["100g"]


class TestAnEntry:
    def test_takes_the_label_of_another_product_and_keeps_its_own_otherwise(self, api, milk):
        rye = product(unit="g", **{name: None for name in LABEL if name.endswith("_100g")})
        eaten = entry(milk, grams=100)
        push_ok(api, revision(api), products={"created": [rye]}, food_entries={"created": [eaten]})

        push_ok(api, revision(api), products={"updated": [{"id": milk["id"], "unit": "g", "salt_100g": 9}]})
        push_ok(api, revision(api), food_entries={"updated": [{"id": eaten["id"], "grams": 200}]})
        (kept,) = live_rows(api, "food_entries").values()
        push_ok(api, revision(api), food_entries={"updated": [{"id": eaten["id"], "product_id": rye["id"]}]})
        (other,) = live_rows(api, "food_entries").values()

        assert (kept["unit"], kept["salt"], kept["sugars"]) == ("ml", 3.02, 7.7)
        assert (other["unit"], other["salt"], other["sugars"]) == ("g", None, None)
