from datetime import date
from decimal import Decimal

import pytest

from nutrition.amounts import amount_in, days, limit_meals, totals

ONE_EACH = (0, 1, 100.10, 10.01, 20.02, 5.05, 4.04, 1.01, 3.03, 0.15)
NUTRIENTS = ("protein", "carbs", "fat", "sugars", "saturated_fat", "fiber", "salt")
NOTHING = {"entries": 0, "kcal": 0.0, **dict.fromkeys(NUTRIENTS, 0.0)}


class TestAmountIn:
    @pytest.mark.parametrize(
        ("per_100g", "grams", "amount"),
        [
            (250, "100", "250.00"),
            (259, "71", "183.89"),
            (0, "71", "0.00"),
            (1000, "100000", "1000000.00"),
            ("8.50", "71", "6.04"),
            ("0.01", "0.01", "0.00"),
            ("100", "0.01", "0.01"),
            (1, "0.49", "0.00"),
            (1, "0.50", "0.01"),
            (1, "1.49", "0.01"),
            (1, "2.50", "0.03"),
            (1, "4.50", "0.05"),
            ("0.50", "49.00", "0.25"),
            ("0.25", "1.80", "0.00"),
            ("0.25", "2.00", "0.01"),
        ],
    )
    def test_is_proportional_and_rounded_half_up(self, per_100g, grams, amount):
        assert str(amount_in(Decimal(per_100g), Decimal(grams))) == amount

    def test_accepts_an_integer(self):
        assert str(amount_in(259, Decimal("71.00"))) == "183.89"

    def test_is_none_if_the_value_is_unknown(self):
        assert amount_in(None, Decimal(100)) is None

    def test_is_zero_if_the_value_is_zero(self):
        assert amount_in(Decimal("0.00"), Decimal(100)) == 0


class TestTotals:
    def test_are_calculated_for_each_value(self):
        unknown = dict.fromkeys(f"{name}_100g" for name in NUTRIENTS)
        per_100g = {
            "kcal_100g": 259,
            "protein_100g": Decimal("8.5"),
            "fat_100g": Decimal(0),
            "salt_100g": Decimal("1.2"),
        }

        assert totals(Decimal(71), unknown | per_100g) == {
            **dict.fromkeys(NUTRIENTS),
            "kcal": Decimal("183.89"),
            "protein": Decimal("6.04"),
            "fat": Decimal(0),
            "salt": Decimal("0.85"),
        }


class TestDays:
    def test_include_every_day_oldest_first(self):
        summaries = days([], date(2024, 2, 28), date(2024, 3, 1))

        assert summaries == [
            {"date": day, **NOTHING, "incomplete": [], "meals": {}}
            for day in (date(2024, 2, 28), date(2024, 2, 29), date(2024, 3, 1))
        ]

    def test_add_up_their_meals(self):
        day = date(2026, 1, 5)
        sums = [
            (day, "lunch", *ONE_EACH),
            (day, "snacks", 4 + 16, 2, 0.9, 0.99, 0.0, 0.0, 0.01, 0.02, 0.03, 0.04),
        ]

        (summary,) = days(sums, day, day)

        assert summary == {
            "date": day,
            "entries": 3,
            "kcal": 101.0,
            "protein": 11.0,
            "carbs": 20.02,
            "fat": 5.05,
            "sugars": 4.05,
            "saturated_fat": 1.03,
            "fiber": 3.06,
            "salt": 0.19,
            "incomplete": ["fat", "saturated_fat"],
            "meals": {
                "lunch": {
                    "entries": 1,
                    "kcal": 100.1,
                    "protein": 10.01,
                    "carbs": 20.02,
                    "fat": 5.05,
                    "sugars": 4.04,
                    "saturated_fat": 1.01,
                    "fiber": 3.03,
                    "salt": 0.15,
                },
                "snacks": {
                    "entries": 2,
                    "kcal": 0.9,
                    "protein": 0.99,
                    "carbs": 0.0,
                    "fat": 0.0,
                    "sugars": 0.01,
                    "saturated_fat": 0.02,
                    "fiber": 0.03,
                    "salt": 0.04,
                },
            },
        }

    def test_have_separate_meals(self):
        first, last = date(2026, 1, 5), date(2026, 1, 6)

        summaries = days([(first, "lunch", *ONE_EACH), (last, "dinner", *ONE_EACH)], first, last)

        assert [list(summary["meals"]) for summary in summaries] == [["lunch"], ["dinner"]]
        assert [summary["entries"] for summary in summaries] == [1, 1]

    @pytest.mark.parametrize("day", [date.min, date.max])
    def test_include_the_first_and_last_day_of_the_calendar(self, day):
        assert [summary["date"] for summary in days([], day, day)] == [day]

    def test_are_the_exact_sums_of_decimals(self):
        day = date(2026, 1, 5)
        meals = ("breakfast", "lunch", "dinner")

        (summary,) = days([(day, meal, 0, 1, 0.1, 0.1, *[0.0] * 6) for meal in meals], day, day)

        assert (summary["kcal"], summary["protein"]) == (0.3, 0.3)


class TestLimitMeals:
    DAY = date(2026, 1, 5)

    def sums(self, *names: str) -> list[tuple]:
        return [(self.DAY, name, 1, 1, 0.1, 0.0, 0.1, 0.0, *[0.1] * 4) for name in names]

    @pytest.mark.parametrize("count", [0, 1, 20])
    def test_changes_nothing_if_there_are_at_most_20(self, count):
        sums = self.sums(*(f"{number}" for number in reversed(range(count))))

        assert limit_meals(sums) is sums

    def test_keeps_the_usual_meals_and_the_first_ones_by_name(self):
        others = [f"M{number:02}" for number in range(19)]

        limited = limit_meals(self.sums("snacks", *reversed(others), "lunch", "zz", "Zz"))

        assert [meal for _, meal, *_ in limited] == ["lunch", "snacks", *others[:18], "other"]
        assert limited[-1] == (self.DAY, "other", 1, 3, 0.3, 0.0, 0.3, 0.0, *[0.3] * 4)

    @pytest.mark.parametrize("place", [0, 7, 20])
    def test_counts_a_meal_called_other_among_the_rest(self, place):
        names = [f"M{number:02}" for number in range(20)]

        limited = limit_meals(self.sums(*names[:place], "other", *names[place:]))

        assert [meal for _, meal, *_ in limited] == [*names, "other"]
        assert limited[-1] == (self.DAY, "other", 1, 1, 0.1, 0.0, 0.1, 0.0, *[0.1] * 4)
