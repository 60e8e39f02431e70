"""A month of real food, logged over HTTP with the real server, and added up again from USDA's own files.

Nothing here is the service's code: the files are read, the values multiplied, rounded and added by this module alone.
"""

import csv
import random
import re
import sys
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from tests.harness.phone import Phone, Response
from tests.harness.service import serve

SR28 = Path(__file__).parent / "usda_sr28"

PROTEIN, FAT, CARBS, KCAL = "203", "204", "205", "208"
NUTRIENTS = ("kcal", "protein", "carbs", "fat")
MEALS = ("breakfast", "lunch", "dinner", "snacks")
FIRST_DAY = date(2026, 2, 15)
DAYS = [FIRST_DAY + timedelta(days=n) for n in range(30)]
ENTRIES_A_DAY = 10


# --- the food, as USDA has it ---------------------------------------------------------------------


@dataclass(frozen=True)
class Portion:
    name: str
    grams: Decimal


@dataclass(frozen=True)
class Food:
    name: str
    per_100g: dict[str, Decimal]
    portions: list[Portion]  # two may have the same name: there are large pieces and small ones


def records(name: str) -> list[list[str]]:
    with (SR28 / name).open(encoding="latin-1", newline="") as file:
        return list(csv.reader(file, delimiter="^", quotechar="~"))


def foods_of_usda() -> list[Food]:
    values, portions = {}, {}
    for number, nutrient, value, *_ in records("NUT_DATA.txt"):
        values[number, nutrient] = Decimal(value)
    for number, _, amount, measure, grams, *_ in records("WEIGHT.txt"):
        portions.setdefault(number, []).append(Portion(f"{amount} {measure}".strip(), Decimal(grams)))
    return [
        Food(
            name=description.strip(),
            per_100g={
                "kcal": half_up(values[number, KCAL], "1"),
                "protein": half_up(values[number, PROTEIN], "0.01"),
                "carbs": half_up(values[number, CARBS], "0.01"),
                "fat": half_up(values[number, FAT], "0.01"),
            },
            portions=portions[number],
        )
        for number, _, description, *_ in records("FOOD_DES.txt")
    ]


def half_up(value: Decimal, step: str) -> Decimal:
    return value.quantize(Decimal(step), rounding=ROUND_HALF_UP)


# --- what is eaten, and what it adds up to --------------------------------------------------------


@dataclass(frozen=True)
class Eaten:
    food: Food
    day: date
    meal: str
    portion: Portion | None  # None where the food was weighed
    amount: Decimal  # how many of the portion, or how many grams

    @property
    def grams(self) -> Decimal:
        return half_up(self.portion.grams * self.amount, "0.01") if self.portion else self.amount

    def total(self, nutrient: str) -> Decimal:
        return half_up(self.food.per_100g[nutrient] * self.grams / 100, "0.01")


def diary(foods: list[Food]) -> list[Eaten]:
    dice = random.Random(28)
    return [some_food_eaten(dice, dice.choice(foods), day) for day in DAYS for _ in range(ENTRIES_A_DAY)]


def some_food_eaten(dice: random.Random, food: Food, day: date) -> Eaten:
    if dice.random() < 0.6:
        portion, amount = dice.choice(food.portions), Decimal(dice.randint(20, 400)) / 100
    else:
        portion, amount = None, Decimal(dice.randint(1, 60_000)) / 100
    return Eaten(food, day, dice.choice(MEALS), portion, amount)


def summary_of(day: date, eaten: list[Eaten]) -> dict:
    by_meal = {meal: [one for one in eaten if one.meal == meal] for meal in MEALS}
    meals = {meal: added_up(of_meal) for meal, of_meal in by_meal.items() if of_meal}
    return {"date": day.isoformat(), **added_up(eaten), "meals": meals}


def added_up(eaten: list[Eaten]) -> dict:
    sums = {nutrient: sum(one.total(nutrient) for one in eaten) for nutrient in NUTRIENTS}
    return {"entries": len(eaten), **sums}


# --- the server, and a phone that talks to it -----------------------------------------------------


@pytest.fixture
def phone(live_url, tmp_path):
    """A phone without a token yet, in reach of a server of its own. If the test fails, the server's log is shown."""
    log = tmp_path / "log"
    try:
        with serve(live_url, log) as service:
            yield DiaryPhone(service.server.port)
    finally:
        sys.stdout.write(log.read_text(errors="replace"))


class DiaryPhone(Phone):
    """A phone that reads amounts as decimals. Each request may get another worker."""

    def created(self, path: str, body):
        response = self.post(path, body)
        assert response.status_code == 201, (body, response)
        return content_of(response)

    def read(self, path: str):
        response = self.get(path)
        assert response.status_code == 200, response
        return content_of(response)

    def walk(self, path: str):
        """Yield every row of a list, page after page, as its `Link` headers lead."""
        while path:
            response = self.get(path)
            assert response.status_code == 200, response
            yield from content_of(response)
            path = next_page(response.headers["Link"])


def content_of(response: Response):
    return response.json(parse_float=Decimal)


def next_page(link: str | None) -> str | None:
    if link is None:
        return None
    address = urlsplit(re.fullmatch(r'<(.+)>; rel="next"', link)[1])
    return f"{address.path}?{address.query}"


# --- what the phone sends -------------------------------------------------------------------------


@dataclass(frozen=True)
class Kept:
    """The ids under which the server keeps a food."""

    product_id: str
    portion_ids: dict[Portion, str]


def keep(phone: DiaryPhone, food: Food) -> Kept:
    values = {f"{nutrient}_100g": value for nutrient, value in food.per_100g.items()}
    values["kcal_100g"] = int(values["kcal_100g"])
    product_id = phone.created("/v1/products", {"name": food.name, **values})["id"]
    url = f"/v1/products/{product_id}/portions"
    ids = {portion: phone.created(url, vars(portion))["id"] for portion in food.portions}
    return Kept(product_id, ids)


def as_sent(eaten: Eaten, kept: Kept) -> dict:
    entry = {"product_id": kept.product_id, "date": eaten.day.isoformat(), "meal_type": eaten.meal}
    if eaten.portion:
        return entry | {"portion_id": kept.portion_ids[eaten.portion], "quantity": eaten.amount}
    return entry | {"grams": eaten.amount}


def log_one_by_one(phone: DiaryPhone, entries: list[dict]) -> None:
    for entry in entries:
        phone.created("/v1/food-entries", entry)


def log_in_one_batch(phone: DiaryPhone, entries: list[dict]) -> None:
    phone.created("/v1/food-entries", entries)


def log_each_twice(phone: DiaryPhone, entries: list[dict]) -> None:
    """Log as after answers that got lost: every request is made again."""
    for entry in with_ids(entries):
        stored = phone.created("/v1/food-entries", entry)
        again = phone.post("/v1/food-entries", entry)
        assert (again.status_code, content_of(again)) == (200, stored)


def log_in_batches_that_overlap(phone: DiaryPhone, entries: list[dict]) -> None:
    """Log some, then all, then all again: only what is new is stored."""
    entries = with_ids(entries)
    some = phone.created("/v1/food-entries", entries[:4])
    every = phone.created("/v1/food-entries", entries)
    assert every[:4] == some
    again = phone.post("/v1/food-entries", entries)
    assert (again.status_code, content_of(again)) == (200, every)


def with_ids(entries: list[dict]) -> list[dict]:
    return [{"id": str(uuid4()), **entry} for entry in entries]


WAYS_TO_LOG = (log_one_by_one, log_in_one_batch, log_each_twice, log_in_batches_that_overlap)


# --- the test -------------------------------------------------------------------------------------


def test_a_month_of_real_food_adds_up_to_what_usda_says(phone):
    foods = foods_of_usda()
    eaten = diary(foods)
    by_day = {day: [one for one in eaten if one.day == day] for day in DAYS}
    phone.register()

    kept = {food.name: keep(phone, food) for food in foods}
    for number, day in enumerate(DAYS):
        log = WAYS_TO_LOG[number % len(WAYS_TO_LOG)]
        log(phone, [as_sent(one, kept[one.food.name]) for one in by_day[day]])

    assert len(foods) == 200
    products = list(phone.walk("/v1/products?limit=30"))
    assert [product["name"] for product in products] == sorted((food.name for food in foods), key=str.casefold)
    summary = phone.read(f"/v1/food-entries/summary?from={DAYS[0]}&to={DAYS[-1]}")
    for shown, day in zip(summary, DAYS, strict=True):
        assert shown == summary_of(day, by_day[day])
