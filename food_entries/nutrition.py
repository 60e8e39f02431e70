"""The arithmetic of what was eaten. It knows no database."""

from collections import defaultdict
from collections.abc import Collection, Iterable
from datetime import date, timedelta
from decimal import Decimal

from countonme.fields import rounded

PER_100G = {"kcal": "kcal_100g", "protein": "protein_100g", "carbs": "carbs_100g", "fat": "fat_100g"}
SUMMED = ("entries", *PER_100G)
NOTHING = {"entries": 0, **dict.fromkeys(PER_100G, 0.0)}


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
    for day, meal, entries, *amounts in sums:
        amounts = [0.0 if amount is None else float(amount) for amount in amounts]
        meals[day][meal] = dict(zip(SUMMED, (entries, *amounts), strict=True))
    calendar = (first + timedelta(days=n) for n in range((last - first).days + 1))
    return [{"date": day, **added_up(meals[day].values()), "meals": meals[day]} for day in calendar]


def added_up(meals: Collection[dict]) -> dict:
    """Add up the meals of a day. A double has room for the exact sum, which is what rounding it to 2 places gives."""
    if not meals:
        return NOTHING
    entries, *amounts = map(sum, zip(*(meal.values() for meal in meals), strict=True))
    return dict(zip(SUMMED, (entries, *(round(amount, 2) for amount in amounts)), strict=True))
