"""A food as a source describes it, checked and cleaned, before it is stored."""

import html
import math
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal
from functools import lru_cache
from uuid import UUID, uuid5

from catalog.words import words_of
from countonme.api.fields import HUNDREDTH
from countonme.db.fields import is_visible
from nutrition.fields import NAME_LENGTH as PRODUCT_NAME_LENGTH
from nutrition.gtin import expand_upc_e, has_check_digit, is_upc_e
from nutrition.nutrients import NAMES_100G

NAMESPACE = UUID("0b7e5b3a-57a5-5d0e-9d0b-6a1f8d8f3c11")  # ids are the same on every server

NAME_LENGTH = (1, 200)
BRAND_LENGTH = (1, 100)
PORTION_NAME_LENGTH = (1, 100)
PORTION_GRAMS = (HUNDREDTH, 10_000)
KCAL_100G = (0, 908)  # pure fat has 902
NUTRIENT_100G = (0, 100)
MACROS = ("protein_100g", "carbs_100g", "fat_100g")
MAX_MACROS = 105  # grams in 100 g; more than rounding can explain
KJ_PER_KCAL = 4.184
SALT_PER_SODIUM = 2.5
MAX_PORTIONS = 50
MIN_GTIN_DIGITS = 6  # without leading zeros. Shorter codes are internal numbers.

HUGE = 10**15  # more than any bound
CODE = re.compile("[0-9]{1,24}")
NUMBER = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,30})?([eE]-?[0-9]{1,2})?")
SHORT = 8  # characters
# Control characters, marks that change the direction of the text, and the replacement character.
JUNK = re.compile("[\x00-\x1f\x7f-\x9f\u200b\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\ufffd]+")


class Refused(Exception):
    """A food that is not imported. `reason` is a key of the counts of a release."""

    def __init__(self, reason: str):
        super().__init__(reason)
        self.reason = reason


@dataclass(slots=True)
class Food:
    source: str
    source_id: str
    name: str
    kcal_100g: int
    nutrients: dict[str, float | None]
    barcode: str | None = None
    brand: str | None = None
    lang: str | None = None
    countries: str = ""
    unit: str = "g"
    tier: int = 2
    weight: int = 0
    scans: int = 0
    source_modified: int = 0  # seconds since 1970; the newer of two versions is kept
    words: list[str] = field(default_factory=list)
    first: str = ""
    portions: list[tuple[str, float]] = field(default_factory=list)  # name, grams

    id: UUID = field(init=False)

    def __post_init__(self):
        self.id = food_id(self.source, self.barcode or self.source_id)


def food_id(source: str, key: str) -> UUID:
    """Return the id of a food: the same on every server, so that a client can compute it."""
    return uuid5(NAMESPACE, f"{source}:{key}")


def clean(text) -> str:
    """Return a text without HTML entities, control characters and repeated spaces. Return "" for any other value."""
    if not isinstance(text, str):
        return ""
    if "&" in text:
        text = html.unescape(html.unescape(text))  # some are escaped twice
    if not text.isprintable() or "\ufffd" in text:
        text = JUNK.sub(" ", text)
    return " ".join(text.split())


def cut(text: str, length: int) -> str:
    return text[:length].rstrip()


def float_of(text: str) -> float | None:
    return float(text) if NUMBER.fullmatch(text) else None


float_of_short = lru_cache(maxsize=20_000)(float_of)  # a dump has the same short texts again and again


def number(value) -> float | None:
    """Return a number, or the number that a text has; None for any other value. Huge ones are cut to 15 digits."""
    if isinstance(value, str):
        value = float_of_short(value) if len(value) <= SHORT else float_of(value)
    if type(value) not in (int, float) or value != value:  # a bool is no number here
        return None
    return float(value) if -HUGE < value < HUGE else float(HUGE if value > 0 else -HUGE)


@lru_cache(maxsize=20_000)
def hundredths(value: float) -> float:
    """Round half-up to 2 places."""
    rounded = round(value, 2)
    if rounded != value:  # most numbers have 2 places already
        rounded = float(Decimal(repr(value)).quantize(HUNDREDTH, ROUND_HALF_UP))
    return rounded + 0.0  # minus zero is zero


def gtin_14(code) -> str | None:
    """Return the 14 digits of a barcode in any spelling, UPC-E included; None if it is no GTIN."""
    if not isinstance(code, str) or not CODE.fullmatch(code):
        return None
    digits = code.lstrip("0")
    if not MIN_GTIN_DIGITS <= len(digits) <= 14:
        return None
    if len(digits) <= 8 and is_upc_e(digits.zfill(8)):
        return expand_upc_e(digits.zfill(8)).zfill(14)
    gtin = digits.zfill(14)
    return gtin if has_check_digit(gtin) else None


def checked_name(text) -> str:
    name = clean(text)
    if not any(each.isalpha() and is_visible(each) for each in name[: PRODUCT_NAME_LENGTH[1]]):
        raise Refused("no_name")
    if len(name) > NAME_LENGTH[1]:
        raise Refused("long_name")
    return name


def checked_energy(kcal: float | None, kj: float | None) -> int:
    """Return the energy in kcal per 100 g, rounded half-up. kJ count only if there are no kcal."""
    if kcal is None:
        if kj is None:
            raise Refused("no_energy")
        kcal = kj / KJ_PER_KCAL
    rounded = math.floor(kcal + 0.5)
    if not KCAL_100G[0] <= rounded <= KCAL_100G[1]:
        raise Refused("kcal_out_of_bounds")
    return rounded


def checked_nutrients(nutrients: dict[str, float | None]) -> dict[str, float | None]:
    """Return grams per 100 g, rounded half-up to 2 places. Unknown ones are None."""
    rounded = dict.fromkeys(NAMES_100G)
    for name, value in nutrients.items():
        if value is not None:
            rounded[name] = value = hundredths(value)
            if not NUTRIENT_100G[0] <= value <= NUTRIENT_100G[1]:
                raise Refused("nutrient_out_of_bounds")
    if sum(rounded[name] or 0 for name in MACROS) > MAX_MACROS:
        raise Refused("too_many_macros")
    return rounded


def check_energy_of_macros(kcal: int, nutrients: dict[str, float | None], alcohol: float | None) -> None:
    """Refuse a food whose energy and macronutrients contradict each other by more than labels do.

    Carbohydrates count as 1 kcal/g at least, because some are fiber or polyols. Alcohol is in % by volume.
    """
    protein, carbs, fat = (nutrients[name] for name in MACROS)
    if 0.8 * (4 * (protein or 0) + 9 * (fat or 0) + (carbs or 0)) > kcal + 10:
        raise Refused("more_energy_in_macros")
    if protein is None or carbs is None or fat is None:
        return
    is_spirit = protein < 0.6 and fat < 0.6 and kcal <= 400
    energy = 4 * protein + 9 * fat + 4 * carbs + 2 * (nutrients["fiber_100g"] or 0) + 5.5 * (alcohol or 0)
    if 0.7 * kcal - 60 > energy and not is_spirit:
        raise Refused("less_energy_in_macros")


def checked_portions(portions: Collection[tuple[str, float | None]]) -> list[tuple[str, float]]:
    """Return the portions that can be stored, each name once."""
    found = {}
    for text, grams in portions:
        name = cut(clean(text), PORTION_NAME_LENGTH[1])
        if name and grams is not None and PORTION_GRAMS[0] <= (rounded := hundredths(grams)) <= PORTION_GRAMS[1]:
            found.setdefault(name, rounded)
    return list(found.items())[:MAX_PORTIONS]


def add_words(food: Food, *, name: str | None = None, aliases: Collection[str] = ()) -> None:
    """Set the words by which the food is found. `name` is the part of the name that counts as its first word."""
    food.words = words_of(name, food.name, food.brand, *aliases)
    if not food.words:
        raise Refused("no_name")
    food.first = food.words[0]
