"""The arithmetic of what was eaten. It knows no database."""

from collections import defaultdict
from collections.abc import Iterable
from datetime import date
from decimal import Decimal

from countonme.api.fields import rounded

PER_100G = {"kcal": "kcal_100g", "protein": "protein_100g", "carbs": "carbs_100g", "fat": "fat_100g"}


def scaled(per_100g: Decimal | int | None, grams: Decimal) -> Decimal | None:
    """Return the amount in `grams` of a food that has `per_100g` in 100 g, rounded half-up to 0.01; unknown is None.

    Source: a label states nutrients per 100 g, so they scale linearly (EU 1169/2011, art. 32).
    """
    return None if per_100g is None else rounded(per_100g * grams / 100)


def totals(grams: Decimal, per_100g: dict) -> dict:
    """Return kcal, protein, carbs and fat in `grams` of a food; `per_100g` is keyed `kcal_100g` and so on."""
    return {total: scaled(per_100g[name], grams) for total, name in PER_100G.items()}


def days(sums: Iterable[tuple], first: date, last: date) -> list[dict]:
    """Return one summary a day from `first` to `last`, empty days too; amounts are floats, to be written as JSON.

    `sums` has a tuple for each day and meal that has entries: the date, the meal, the number of entries, and the sums
    of kcal, protein, carbs and fat as floats. The sum of a nutrient that no entry states is None, which counts as 0.
    """
    of_day = defaultdict(list)
    for row in sums:
        of_day[row[0]].append(row)
    calendar = map(date.fromordinal, range(first.toordinal(), last.toordinal() + 1))
    return [summed_up(day, of_day[day]) for day in calendar]


def summed_up(day: date, sums: list[tuple]) -> dict:
    """Return the summary of a day from the sums of its meals.

    A double holds the exact sum, which is the nearest whole number of hundredths.
    """
    meals, entries, kcal, protein, carbs, fat = {}, 0, 0.0, 0.0, 0.0, 0.0
    # Name by name: a loop over the names takes three times as long.
    for _, meal, meal_entries, meal_kcal, meal_protein, meal_carbs, meal_fat in sums:
        meals[meal] = {
            "entries": meal_entries,
            "kcal": meal_kcal,
            "protein": meal_protein or 0.0,
            "carbs": meal_carbs or 0.0,
            "fat": meal_fat or 0.0,
        }
        entries += meal_entries
        kcal += meal_kcal
        protein += meal_protein or 0.0
        carbs += meal_carbs or 0.0
        fat += meal_fat or 0.0
    return {
        "date": day,
        "entries": entries,
        "kcal": round(kcal * 100) / 100,  # several times as fast as rounding to 2 places
        "protein": round(protein * 100) / 100,
        "carbs": round(carbs * 100) / 100,
        "fat": round(fat * 100) / 100,
        "meals": meals,
    }
