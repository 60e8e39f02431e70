"""Log a month of real food over HTTP, and compare the summary with sums calculated from USDA's files.

The expected values don't depend on the service's code: this module reads, multiplies, rounds and adds them itself.
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

NUTRIENTS = {  # the numbers of USDA
    "kcal": "208",
    "protein": "203",
    "carbs": "205",
    "fat": "204",
    "sugars": "269",
    "saturated_fat": "606",
    "fiber": "291",
    "salt": "307",
}
SALT_IN_SODIUM = Decimal("2.5") / 1000  # g of salt for each mg of sodium
MEALS = ("breakfast", "lunch", "dinner", "snacks")
FIRST_DAY = date(2026, 2, 15)
DAYS = [FIRST_DAY + timedelta(days=n) for n in range(30)]
ENTRIES_A_DAY = 10


# --- the data of USDA ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Portion:
    name: str
    grams: Decimal


@dataclass(frozen=True)
class Food:
    name: str
    per_100g: dict[str, Decimal | None]  # None: USDA doesn't know it
    portions: list[Portion]  # names are not unique: there are large and small pieces


def records(name: str) -> list[list[str]]:
    with (SR28 / name).open(encoding="latin-1", newline="") as file:
        return list(csv.reader(file, delimiter="^", quotechar="~"))


def usda_foods() -> list[Food]:
    values, portions = {}, {}
    for number, nutrient, value, *_ in records("NUT_DATA.txt"):
        values[number, nutrient] = Decimal(value)
    for number, _, amount, measure, grams, *_ in records("WEIGHT.txt"):
        portions.setdefault(number, []).append(Portion(f"{amount} {measure}".strip(), Decimal(grams)))
    return [
        Food(
            name=description.strip(),
            per_100g={name: per_100g(name, values.get((number, code))) for name, code in NUTRIENTS.items()},
            portions=portions[number],
        )
        for number, _, description, *_ in records("FOOD_DES.txt")
    ]


def per_100g(name: str, value: Decimal | None) -> Decimal | None:
    if value is None:
        return None
    return half_up(value * SALT_IN_SODIUM if name == "salt" else value, "1" if name == "kcal" else "0.01")


def half_up(value: Decimal, step: str) -> Decimal:
    return value.quantize(Decimal(step), rounding=ROUND_HALF_UP)


# --- the diary and the expected sums --------------------------------------------------------------


@dataclass(frozen=True)
class Eaten:
    food: Food
    day: date
    meal: str
    portion: Portion | None  # None if the food was weighed
    amount: Decimal  # number of portions, or grams

    @property
    def grams(self) -> Decimal:
        return half_up(self.portion.grams * self.amount, "0.01") if self.portion else self.amount

    def total(self, nutrient: str) -> Decimal | None:
        value = self.food.per_100g[nutrient]
        return None if value is None else half_up(value * self.grams / 100, "0.01")


def diary(foods: list[Food]) -> list[Eaten]:
    dice = random.Random(28)
    return [random_entry(dice, dice.choice(foods), day) for day in DAYS for _ in range(ENTRIES_A_DAY)]


def random_entry(dice: random.Random, food: Food, day: date) -> Eaten:
    if dice.random() < 0.6:
        portion, amount = dice.choice(food.portions), Decimal(dice.randint(20, 400)) / 100
    else:
        portion, amount = None, Decimal(dice.randint(1, 60_000)) / 100
    return Eaten(food, day, dice.choice(MEALS), portion, amount)


def summary_of(day: date, eaten: list[Eaten]) -> dict:
    by_meal = {meal: [one for one in eaten if one.meal == meal] for meal in MEALS}
    meals = {meal: totals_of(of_meal) for meal, of_meal in by_meal.items() if of_meal}
    incomplete = [name for name in NUTRIENTS if any(one.total(name) is None for one in eaten)]
    return {"date": day.isoformat(), **totals_of(eaten), "incomplete": incomplete, "meals": meals}


def totals_of(eaten: list[Eaten]) -> dict:
    sums = {nutrient: sum(one.total(nutrient) or 0 for one in eaten) for nutrient in NUTRIENTS}
    return {"entries": len(eaten), **sums}


# --- the server and its client --------------------------------------------------------------------


@pytest.fixture
def phone(live_url, tmp_path):
    """A phone without a token, and a server for it. If the test fails, pytest shows the server's log."""
    log = tmp_path / "log"
    try:
        with serve(live_url, log) as service:
            yield DiaryPhone(service.server.port)
    finally:
        sys.stdout.write(log.read_text(errors="replace"))


class DiaryPhone(Phone):
    """A phone that parses amounts as decimals. Each request may reach another worker."""

    def create(self, path: str, body):
        response = self.post(path, body)
        assert response.status_code == 201, (body, response)
        return content_of(response)

    def read(self, path: str):
        response = self.get(path)
        assert response.status_code == 200, response
        return content_of(response)

    def walk(self, path: str):
        """Yield every row of a list, following the `Link` headers of its pages."""
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


# --- requests -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class StoredFood:
    """The ids of a food that the server has stored."""

    product_id: str
    portion_ids: dict[Portion, str]


def store(phone: DiaryPhone, food: Food) -> StoredFood:
    values = {f"{nutrient}_100g": value for nutrient, value in food.per_100g.items()}
    values["kcal_100g"] = int(values["kcal_100g"])
    product_id = phone.create("/v1/products", {"name": food.name, **values})["id"]
    url = f"/v1/products/{product_id}/portions"
    ids = {portion: phone.create(url, vars(portion))["id"] for portion in food.portions}
    return StoredFood(product_id, ids)


def request_body(eaten: Eaten, stored: StoredFood) -> dict:
    entry = {"product_id": stored.product_id, "date": eaten.day.isoformat(), "meal_type": eaten.meal}
    if eaten.portion:
        return entry | {"portion_id": stored.portion_ids[eaten.portion], "quantity": eaten.amount}
    return entry | {"grams": eaten.amount}


def log_one_by_one(phone: DiaryPhone, entries: list[dict]) -> None:
    for entry in entries:
        phone.create("/v1/food-entries", entry)


def log_in_one_batch(phone: DiaryPhone, entries: list[dict]) -> None:
    phone.create("/v1/food-entries/batch", entries)


def log_each_twice(phone: DiaryPhone, entries: list[dict]) -> None:
    """Send every request twice, as after lost responses."""
    for entry in with_ids(entries):
        stored = phone.create("/v1/food-entries", entry)
        again = phone.post("/v1/food-entries", entry)
        assert (again.status_code, content_of(again)) == (200, stored)


def log_in_batches_that_overlap(phone: DiaryPhone, entries: list[dict]) -> None:
    """Send some entries, then all, then all again. Only new ones are stored."""
    entries = with_ids(entries)
    some = phone.create("/v1/food-entries/batch", entries[:4])
    every = phone.create("/v1/food-entries/batch", entries)
    assert every[:4] == some
    again = phone.post("/v1/food-entries/batch", entries)
    assert (again.status_code, content_of(again)) == (200, every)


def with_ids(entries: list[dict]) -> list[dict]:
    return [{"id": str(uuid4()), **entry} for entry in entries]


WAYS_TO_LOG = (log_one_by_one, log_in_one_batch, log_each_twice, log_in_batches_that_overlap)


# --- the test -------------------------------------------------------------------------------------


def test_summary_of_a_month_of_real_food_matches_usda(phone):
    foods = usda_foods()
    eaten = diary(foods)
    by_day = {day: [one for one in eaten if one.day == day] for day in DAYS}
    phone.register()

    stored_foods = {food.name: store(phone, food) for food in foods}
    for number, day in enumerate(DAYS):
        log = WAYS_TO_LOG[number % len(WAYS_TO_LOG)]
        log(phone, [request_body(one, stored_foods[one.food.name]) for one in by_day[day]])

    assert len(foods) == 200
    products = list(phone.walk("/v1/products?limit=30"))
    assert [product["name"] for product in products] == sorted((food.name for food in foods), key=str.casefold)
    summary = phone.read(f"/v1/food-entries/summary?from={DAYS[0]}&to={DAYS[-1]}")
    for shown, day in zip(summary, DAYS, strict=True):
        assert shown == summary_of(day, by_day[day])
    assert {name for day in summary for name in day["incomplete"]} == {"sugars", "saturated_fat", "fiber"}
