"""The arithmetic of what was eaten. It knows no database."""

from collections import defaultdict
from collections.abc import Collection, Iterable
from datetime import date, timedelta
from decimal import Decimal

from countonme.fields import rounded

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

    `sums` has a tuple for each day and meal that has entries: the day, the meal, the number of entries, then the sums
    of kcal, protein, carbs and fat to 2 places, None where nothing is known of it, which counts as 0.
    """
    meals = defaultdict(dict)
    for day, meal, entries, kcal, protein, carbs, fat in sums:
        meals[day][meal] = {
            "entries": entries,
            "kcal": float(kcal),
            "protein": float(protein or 0),
            "carbs": float(carbs or 0),
            "fat": float(fat or 0),
        }
    calendar = (first + timedelta(days=n) for n in range((last - first).days + 1))
    return [{"date": day, **added_up(meals[day].values()), "meals": meals[day]} for day in calendar]


def added_up(meals: Collection[dict]) -> dict:
    """Add up the meals of a day. A double has room for the exact sum, which is what rounding it to 2 places gives."""
    entries, kcal, protein, carbs, fat = 0, 0.0, 0.0, 0.0, 0.0
    for meal in meals:  # name by name: there are many, and a loop over the names takes three times as long
        entries += meal["entries"]
        kcal += meal["kcal"]
        protein += meal["protein"]
        carbs += meal["carbs"]
        fat += meal["fat"]
    return {
        "entries": entries,
        "kcal": round(kcal, 2),
        "protein": round(protein, 2),
        "carbs": round(carbs, 2),
        "fat": round(fat, 2),
    }
