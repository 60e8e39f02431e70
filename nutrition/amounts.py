"""Calculate energy and nutrients of food entries, and daily summaries. This module does not use the database."""

from collections import defaultdict
from collections.abc import Iterable
from datetime import date
from decimal import Decimal

from countonme.api.fields import round_half_up

MEALS = ("breakfast", "lunch", "dinner", "snacks")  # the usual ones: a meal can have any other name
MAX_MEALS = 20  # that a summary lists for a day
OTHER = "other"

PER_100G = {"kcal": "kcal_100g", "protein": "protein_100g", "carbs": "carbs_100g", "fat": "fat_100g"}


def amount_in(per_100g: Decimal | int | None, grams: Decimal) -> Decimal | None:
    """Return the amount in `grams` of a food that has `per_100g` in 100 g, rounded half-up to 0.01.

    The result is None if `per_100g` is None. Labels state nutrients per 100 g, so amounts are proportional to the
    weight (EU 1169/2011, art. 32).
    """
    return None if per_100g is None else round_half_up(per_100g * grams / 100)


def totals(grams: Decimal, per_100g: dict) -> dict:
    """Return kcal, protein, carbs and fat in `grams` of a food. The keys of `per_100g` are `kcal_100g` and so on."""
    return {total: amount_in(per_100g[name], grams) for total, name in PER_100G.items()}


def days(sums: Iterable[tuple], first: date, last: date) -> list[dict]:
    """Return a summary of each day from `first` to `last`, including days without entries. Amounts are floats.

    `sums` has a tuple for each day and meal that has entries: the date, the meal, the number of entries, and the sums
    of kcal, protein, carbs and fat as floats. A sum is None if no entry has a value; it counts as 0.
    """
    by_day = defaultdict(list)
    for row in sums:
        by_day[row[0]].append(row)
    calendar = map(date.fromordinal, range(first.toordinal(), last.toordinal() + 1))
    return [day_summary(day, limit_meals(by_day[day])) for day in calendar]


def limit_meals(sums: list[tuple]) -> list[tuple]:
    """Return the sums of the meals of a day. If there are more than 20, sum up the rest as `other`.

    The usual meals stay, and then the first ones by name. A meal that is called `other` is part of the rest.
    """
    if len(sums) <= MAX_MEALS:
        return sums
    named = sorted((row for row in sums if row[1] != OTHER), key=lambda row: (row[1] not in MEALS, row[1]))
    rest = [*named[MAX_MEALS:], *(row for row in sums if row[1] == OTHER)]
    (day, *_), (_, _, entries, *amounts) = sums[0], zip(*rest, strict=True)
    exact = (round(sum(amount or 0.0 for amount in column) * 100) / 100 for column in amounts)
    return [*named[:MAX_MEALS], (day, OTHER, sum(entries), *exact)]


def day_summary(day: date, sums: list[tuple]) -> dict:
    """Return the summary of a day from the sums of its meals.

    Adding floats is safe here: rounded to hundredths, the result is the exact sum.
    """
    meals, entries, kcal, protein, carbs, fat = {}, 0, 0.0, 0.0, 0.0, 0.0
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
        "kcal": round(kcal * 100) / 100,
        "protein": round(protein * 100) / 100,
        "carbs": round(carbs * 100) / 100,
        "fat": round(fat * 100) / 100,
        "meals": meals,
    }
