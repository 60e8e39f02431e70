"""Calculate energy and nutrients of food entries, and daily summaries. This module does not use the database."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import make_dataclass
from datetime import date
from decimal import Decimal
from functools import reduce
from operator import or_

from countonme.api.fields import round_half_up
from nutrition.nutrients import NAMES, PER_100G

MEALS = ("breakfast", "lunch", "dinner", "snacks")  # the usual ones: a meal can have any other name
MAX_MEALS = 20  # that a summary lists for a day
OTHER = "other"

SUMS = ("entries", *PER_100G)
NOTHING = {"entries": 0, **dict.fromkeys(PER_100G, 0.0)}
Sums = make_dataclass("Sums", SUMS, repr=False, eq=False)


def amount_in(per_100g: Decimal | int | None, grams: Decimal) -> Decimal | None:
    """Return the amount in `grams` of a food that has `per_100g` in 100 g, rounded half-up to 0.01.

    The result is None if `per_100g` is None. Labels state nutrients per 100 g, so amounts are proportional to the
    weight (EU 1169/2011, art. 32).
    """
    return None if per_100g is None else round_half_up(per_100g * grams / 100)


def totals(grams: Decimal, per_100g: dict) -> dict:
    """Return kcal and nutrients in `grams` of a food. The keys of `per_100g` are `kcal_100g` and so on."""
    return {total: amount_in(per_100g[name], grams) for total, name in PER_100G.items()}


def days(sums: Iterable[tuple], first: date, last: date) -> list[dict]:
    """Return a summary of each day from `first` to `last`, including days without entries. Amounts are floats.

    `sums` has a tuple for each day and meal that has entries: the date, the meal, the nutrients that some entry does
    not know (1 for the first, 2 for the second, 4 and so on, added up), the number of entries, and the sums of kcal and
    of each nutrient as floats. An unknown amount counts as 0.
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
    return [*named[:MAX_MEALS], (sums[0][0], OTHER, *add_up(rest))]


def add_up(sums: list[tuple]) -> tuple:
    """Return the sums of the columns after the day and the meal, in the same order.

    Adding floats is safe here: rounded to hundredths, the result is the exact sum.
    """
    _, _, unknown, entries, *amounts = zip(*sums, strict=True)
    exact = [round(sum(column) * 100) / 100 for column in amounts]
    return (reduce(or_, unknown), sum(entries), *exact)


def day_summary(day: date, sums: list[tuple]) -> dict:
    """Return the summary of a day from the sums of its meals. `incomplete` has the nutrients that an entry lacks."""
    if not sums:
        return {"date": day, **NOTHING, "incomplete": [], "meals": {}}
    unknown, *whole = add_up(sums)
    return {
        "date": day,
        **by_name(whole),
        "incomplete": [name for place, name in enumerate(NAMES) if unknown >> place & 1],
        "meals": {row[1]: by_name(row[3:]) for row in sums},
    }


def by_name(values: Sequence) -> dict:
    """Return the number of entries and the amounts by name, as the `__dict__` of a dataclass: this is faster."""
    return Sums(*values).__dict__
