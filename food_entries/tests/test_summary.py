import json
import random
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal

import pytest

from food_entries.tests.factories import FoodEntryFactory
from ownership.models import change_set
from products.tests.factories import ProductFactory
from tests.harness.errors import validation_error_body

ENTRIES = "/v1/food-entries"
SUMMARY = f"{ENTRIES}/summary"
MEALS = ("breakfast", "lunch", "dinner", "snacks")
TOTALS = ("kcal", "protein", "carbs", "fat", "sugars", "saturated_fat", "fiber", "salt")
NUTRIENTS = TOTALS[1:]
EMPTY = {"entries": 0, **dict.fromkeys(TOTALS, 0.0), "incomplete": [], "meals": {}}


def exact_json(response, status: int = 200):
    """Return the JSON of a response, with exact decimals."""
    assert response.status_code == status
    return json.loads(response.content, parse_float=Decimal)


def sums_of(*values) -> dict:
    return dict(zip(("entries", *TOTALS), values, strict=True))


def half_up(value: Decimal) -> Decimal:
    return value.quantize(Decimal("0.01"), rounding=ROUND_HALF_UP)


class TestASummary:
    def test_sums_up_each_day_and_its_meals(self, api, rye, oats, by_weight, by_portion):
        FoodEntryFactory(product=oats, grams=Decimal(100), date=date(2026, 1, 5), meal_type="lunch")
        FoodEntryFactory(product=oats, grams=Decimal(50), date=date(2026, 1, 7))

        response = api.get(SUMMARY, {"from": "2026-01-05", "to": "2026-01-07"})

        assert response.status_code == 200
        assert response.json() == [
            {
                "date": "2026-01-05",
                "entries": 3,
                "kcal": 1071.89,
                "protein": 36.54,
                "carbs": 130.89,
                "fat": 15.94,
                "sugars": 10.43,
                "saturated_fat": 2.91,
                "fiber": 25.72,
                "salt": 4.11,
                "incomplete": ["carbs", "sugars"],
                "meals": {
                    "breakfast": sums_of(1, 183.89, 6.04, 34.29, 2.34, 2.73, 0.45, 4.12, 1.07),
                    "lunch": sums_of(2, 888.0, 30.5, 96.6, 13.6, 7.7, 2.46, 21.6, 3.04),
                },
            },
            {"date": "2026-01-06", **EMPTY},
            {
                "date": "2026-01-07",
                **sums_of(1, 185.0, 6.75, 0.0, 3.5, 0.0, 0.6, 5.0, 0.01),
                "incomplete": ["carbs", "sugars"],
                "meals": {"snacks": sums_of(1, 185.0, 6.75, 0.0, 3.5, 0.0, 0.6, 5.0, 0.01)},
            },
        ]

    def test_can_cover_one_day(self, api, by_weight, by_portion):
        FoodEntryFactory(product=by_weight.product, date=date(2026, 1, 4))
        FoodEntryFactory(product=by_weight.product, date=date(2026, 1, 6))

        response = api.get(SUMMARY, {"from": "2026-01-05", "to": "2026-01-05"})

        assert [(day["date"], day["entries"]) for day in response.json()] == [("2026-01-05", 2)]

    def test_has_a_key_for_each_name_of_a_meal(self, api, rye):
        for meal in ("Brunch", "brunch", "lunch", "other", "lunch"):
            FoodEntryFactory(product=rye, meal_type=meal)

        (day,) = api.get(SUMMARY, {"from": "2026-01-05", "to": "2026-01-05"}).json()

        assert {meal: sums["entries"] for meal, sums in day["meals"].items()} == {
            "Brunch": 1,
            "brunch": 1,
            "lunch": 2,
            "other": 1,
        }

    def test_sums_up_all_but_20_meals_as_other(self, api, device, rye):
        names = ["snacks", "other", *(f"Meal {number:02}" for number in range(20))]
        with change_set(device):
            for number, name in enumerate(names, start=1):
                FoodEntryFactory(product=rye, meal_type=name, grams=Decimal(number))

        (day,) = exact_json(api.get(SUMMARY, {"from": "2026-01-05", "to": "2026-01-05"}))

        assert set(day["meals"]) == {"snacks", "other", *names[2:21]}
        assert (day["entries"], day["kcal"]) == (22, Decimal("655.27"))
        # the meal called "other", 2 g, and the last one by name, 22 g
        assert day["meals"]["other"] == {
            "entries": 2,
            "kcal": Decimal("62.16"),
            "protein": Decimal("2.04"),
            "carbs": Decimal("11.6"),
            "fat": Decimal("0.8"),
            "sugars": Decimal("0.93"),
            "saturated_fat": Decimal("0.15"),
            "fiber": Decimal("1.4"),
            "salt": Decimal("0.36"),
        }

    def test_includes_only_live_entries_of_the_caller(self, api, device, other_device, by_weight):
        gone, _ = FoodEntryFactory(product=by_weight.product), FoodEntryFactory(device=other_device)
        api.delete(f"{ENTRIES}/{gone.pk}")

        (day,) = api.get(SUMMARY, {"from": "2026-01-05", "to": "2026-01-05"}).json()

        assert (day["entries"], day["kcal"], list(day["meals"])) == (1, 518.0, ["lunch"])

    def test_does_not_change_with_the_product(self, api, rye, by_weight, by_portion):
        query = {"from": "2026-01-05", "to": "2026-01-05"}
        before = api.get(SUMMARY, query).json()
        api.patch(f"/v1/products/{rye.pk}", {"kcal_100g": 1})
        api.delete(f"/v1/products/{rye.pk}")

        assert api.get(SUMMARY, query).json() == before
        assert before[0]["entries"] == 2

    def test_changes_with_an_entry(self, api, by_weight):
        query = {"from": "2026-01-05", "to": "2026-01-06"}
        api.patch(f"{ENTRIES}/{by_weight.pk}", {"grams": 100, "date": "2026-01-06", "meal_type": "dinner"})

        first, second = api.get(SUMMARY, query).json()

        assert first == {"date": "2026-01-05", **EMPTY}
        assert (second["kcal"], list(second["meals"])) == (259.0, ["dinner"])

    def test_counts_unknown_values_as_zero(self, api, device):
        nothing_known = dict.fromkeys(f"{name}_100g" for name in NUTRIENTS)
        product = ProductFactory(device=device, kcal_100g=100, **nothing_known)
        FoodEntryFactory(product=product, grams=Decimal(50), meal_type="dinner")

        (day,) = api.get(SUMMARY, {"from": "2026-01-05", "to": "2026-01-05"}).json()

        sums = {"entries": 1, "kcal": 50.0, **dict.fromkeys(NUTRIENTS, 0.0)}
        assert day == {"date": "2026-01-05", **sums, "incomplete": list(NUTRIENTS), "meals": {"dinner": sums}}

    def test_is_incomplete_if_one_of_several_entries_does_not_know_a_nutrient(self, api, device):
        """Also if the entry has a meal of its own, or one that is summed up as `other`."""
        known = {f"{name}_100g": Decimal(0) for name in NUTRIENTS}
        complete = ProductFactory(device=device, **known)
        foods = [ProductFactory(device=device, **known | {f"{name}_100g": None}) for name in ("salt", "protein")]
        with change_set(device):
            for number in range(21):
                FoodEntryFactory(product=complete, meal_type=f"Meal {number:02}")
            FoodEntryFactory(product=foods[0], meal_type="lunch")
            FoodEntryFactory(product=foods[1], meal_type="zz")
            FoodEntryFactory(product=foods[1], date=date(2026, 1, 6))

        first, second, third = api.get(SUMMARY, {"from": "2026-01-05", "to": "2026-01-07"}).json()

        assert "zz" not in first["meals"]
        assert [day["incomplete"] for day in (first, second, third)] == [["protein", "salt"], ["protein"], []]

    def test_takes_two_queries_for_any_number_of_days(self, api, rye, django_assert_num_queries):
        for day in (date(2025, 1, 1), date(2025, 7, 1), date(2026, 1, 1)):
            FoodEntryFactory(product=rye, date=day)

        with django_assert_num_queries(2):  # the device of the token, the sums
            one = api.get(SUMMARY, {"from": "2025-01-01", "to": "2025-01-01"})
        with django_assert_num_queries(2):  # the device of the token, the sums
            year = api.get(SUMMARY, {"from": "2025-01-01", "to": "2026-01-01"})

        assert [sum(day["entries"] for day in response.json()) for response in (one, year)] == [1, 3]


class TestTheDaysOfASummary:
    @pytest.mark.parametrize(
        ("first", "last", "count"),
        [
            ("2024-01-01", "2024-12-31", 366),
            ("2025-01-01", "2026-01-01", 366),
            ("2024-02-28", "2024-03-01", 3),
            ("1900-01-01", "1900-01-01", 1),
            ("1900-01-01", "1901-01-01", 366),
            ("2199-12-31", "2199-12-31", 1),
            ("2198-12-31", "2199-12-31", 366),
        ],
    )
    def test_are_complete_and_oldest_first(self, api, first, last, count):
        response = api.get(SUMMARY, {"from": first, "to": last})

        begin = date.fromisoformat(first)
        assert response.status_code == 200
        assert response.json() == [{"date": str(begin + timedelta(days=n)), **EMPTY} for n in range(count)]
        assert response.json()[-1]["date"] == last

    @pytest.mark.parametrize("day", ["1900-01-01", "2199-12-31"])
    def test_include_the_first_and_last_day_of_the_calendar(self, api, rye, day):
        FoodEntryFactory(product=rye, date=date.fromisoformat(day), grams=Decimal(100))

        (summary,) = api.get(SUMMARY, {"from": day, "to": day}).json()

        assert (summary["date"], summary["entries"], summary["kcal"]) == (day, 1, 259.0)

    @pytest.mark.parametrize(
        ("query", "errors"),
        [
            ("", [("from", "This field is required.", "required"), ("to", "This field is required.", "required")]),
            ("from=2026-01-01", [("to", "This field is required.", "required")]),
            ("to=2026-01-01", [("from", "This field is required.", "required")]),
            ("date=2026-01-01&to=2026-01-01", [("from", "This field is required.", "required")]),
            ("from=2026-01-02&to=2026-01-01", [("to", "Must not be before `from`.", "before_from")]),
            ("from=2199-12-31&to=1900-01-01", [("to", "Must not be before `from`.", "before_from")]),
            ("from=2025-01-01&to=2026-01-02", [("to", "A summary covers at most 366 days.", "too_many_days")]),
            ("from=2024-01-01&to=2025-01-01", [("to", "A summary covers at most 366 days.", "too_many_days")]),
            ("from=1900-01-01&to=2199-12-31", [("to", "A summary covers at most 366 days.", "too_many_days")]),
            *[
                (f"from={day}&to=2026-01-01", [("from", "A date has the form YYYY-MM-DD.", "invalid")])
                for day in ("", "20260101", "2026-W01-1", "2026-1-1", "%D9%A2026-01-01")
            ],
            *[
                (f"from={day}&to=2026-01-01", [("from", "There is no such day.", "no_such_day")])
                for day in ("2026-02-30", "0000-01-01")
            ],
        ],
    )
    def test_are_validated(self, api, query, errors):
        response = api.get(f"{SUMMARY}?{query}")

        assert response.status_code == 422
        assert response.json() == validation_error_body(*errors)
        assert "ETag" not in response

    @pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
    def test_are_read_only(self, api, by_weight, all_rows, method):
        before = all_rows()

        response = getattr(api, method)(f"{SUMMARY}?from=2026-01-05&to=2026-01-05")

        assert response.status_code == 405
        assert all_rows() == before


class TestTheSums:
    def test_are_exact(self, api, device):
        """0.1 and 0.2 make 0.3, and ten times 0.1 make 1."""
        product = ProductFactory(device=device, protein_100g=Decimal("0.10"), carbs_100g=Decimal("0.20"), fat_100g=0)
        other = ProductFactory(device=device, protein_100g=Decimal("0.20"), carbs_100g=Decimal("0.10"), fat_100g=0)
        for eaten in (product, other):
            FoodEntryFactory(product=eaten, grams=Decimal(100), date=date(2026, 1, 5))
        with change_set(device):
            for _ in range(10):
                FoodEntryFactory(product=product, grams=Decimal(100), date=date(2026, 1, 6))

        response = api.get(SUMMARY, {"from": "2026-01-05", "to": "2026-01-06"})

        assert [(str(day["protein"]), str(day["carbs"])) for day in exact_json(response)] == [
            ("0.3", "0.3"),
            ("1.0", "2.0"),
        ]

    def test_are_exact_for_the_largest_amounts(self, api, device):
        most = ProductFactory(device=device, kcal_100g=1000, protein_100g=100)
        least = ProductFactory(device=device, kcal_100g=1, protein_100g=Decimal("0.01"))
        with change_set(device):
            for _ in range(99):
                FoodEntryFactory(product=most, grams=Decimal("99999.99"))
            FoodEntryFactory(product=least, grams=Decimal(1))

        (day,) = exact_json(api.get(SUMMARY, {"from": "2026-01-05", "to": "2026-01-05"}))

        assert day["entries"] == 100
        assert day["kcal"] == 99 * Decimal("999999.90") + Decimal("0.01")
        assert day["protein"] == 99 * Decimal("99999.99")

    def test_match_the_listed_entries(self, api, device):
        """300 entries of 12 foods over 40 days, logged in batches; some are changed or deleted afterwards."""
        dice = random.Random(366)
        first = date(2025, 12, 15)
        foods = {str(food.pk): food for food in (random_food(device, dice) for _ in range(12))}
        sent = [
            {
                "product_id": dice.choice(list(foods)),
                "grams": dice.randint(1, 90_000) / 100,
                "date": str(first + timedelta(days=dice.randrange(40))),
                "meal_type": dice.choice(MEALS),
            }
            for _ in range(300)
        ]
        rows = [
            row
            for start in (0, 100, 200)
            for row in exact_json(api.post(f"{ENTRIES}/batch", sent[start : start + 100]), 201)
        ]
        for row in rows[::25]:
            assert api.delete(f"{ENTRIES}/{row['id']}").status_code == 204
        for row in rows[1::25]:
            assert api.patch(f"{ENTRIES}/{row['id']}", {"grams": 12.34}).status_code == 200

        response = api.get(SUMMARY, {"from": str(first), "to": str(first + timedelta(days=39))})

        shown = exact_json(api.get(f"{ENTRIES}?limit=200")) + exact_json(api.get(f"{ENTRIES}?limit=200&offset=200"))
        assert len(shown) == 288
        for row in shown:
            assert {name: row[name] for name in TOTALS} == totals(foods[row["product_id"]], Decimal(row["grams"]))
        assert exact_json(response) == [expected_summary(str(first + timedelta(days=n)), shown) for n in range(40)]


def random_food(device, dice: random.Random):
    values = {
        f"{name}_100g": dice.choice([None, Decimal(0), Decimal(dice.randint(0, 10_000)) / 100]) for name in NUTRIENTS
    }
    return ProductFactory(device=device, kcal_100g=dice.randint(0, 1000), **values)


def totals(food, grams: Decimal) -> dict:
    per_100g = {name: getattr(food, f"{name}_100g") for name in TOTALS}
    return {name: None if value is None else half_up(value * grams / 100) for name, value in per_100g.items()}


def expected_summary(day: str, shown: list[dict]) -> dict:
    rows = [row for row in shown if row["date"] == day]
    meals = {meal: [row for row in rows if row["meal_type"] == meal] for meal in MEALS}
    return {
        "date": day,
        **sums(rows),
        "incomplete": [name for name in NUTRIENTS if any(row[name] is None for row in rows)],
        "meals": {meal: sums(eaten) for meal, eaten in meals.items() if eaten},
    }


def sums(rows: list[dict]) -> dict:
    return {"entries": len(rows), **{name: sum(row[name] or 0 for row in rows) for name in TOTALS}}
