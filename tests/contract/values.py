"""The values that the API accepts. A check returns the value as it is stored, or raises ValueError."""

import re
import unicodedata
from collections.abc import Callable
from datetime import date, time
from decimal import ROUND_HALF_UP, Decimal

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
NIL = "00000000-0000-0000-0000-000000000000"
BLANK = "\u2800\u3164"  # characters without ink that are neither spaces nor format characters
TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}\.[0-9]{6}Z")
MEAL_TYPES = ("breakfast", "lunch", "dinner", "snacks")


def round_half_up(value) -> Decimal:
    return Decimal(str(value)).quantize(Decimal("0.01"), ROUND_HALF_UP)


def require(condition: bool) -> None:
    if not condition:
        raise ValueError


def row_id(value) -> str:
    require(isinstance(value, str) and UUID.fullmatch(value) is not None and value != NIL)
    return value


def name(value) -> str:
    require(isinstance(value, str) and not re.search("[\0\ud800-\udfff]", value) and 1 <= len(value.strip()) <= 100)
    require(any(unicodedata.category(each)[0] not in "ZC" and each not in BLANK for each in value))
    return value.strip()


def integer(least: int, most: int) -> Callable:
    def check(value) -> int:
        require(type(value) in (int, float))
        rounded = int(Decimal(str(value)).to_integral_value(ROUND_HALF_UP))
        require(least <= rounded <= most)
        return rounded

    return check


def amount(least: str, most: int) -> Callable:
    def check(value) -> Decimal:
        require(type(value) in (int, float))
        require(Decimal(least) <= round_half_up(value) <= most)
        return round_half_up(value)

    return check


def boolean(value) -> bool:
    require(isinstance(value, bool))
    return value


def unit(value) -> str:
    require(value in ("g", "ml"))
    return value


def day(value) -> str:
    require(isinstance(value, str) and len(value) == 10)
    require("1900-01-01" <= value <= "2199-12-31")
    return str(date.fromisoformat(value))


def time_of_day(value) -> str:
    require(isinstance(value, str) and re.fullmatch(r"[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{3})?)?", value) is not None)
    return time.fromisoformat(value).isoformat("milliseconds")


def meal_type(value) -> str:
    require(isinstance(value, str) and not re.search("[\0\ud800-\udfff]", value) and 1 <= len(value.strip()) <= 30)
    meal = value.strip()
    return meal.lower() if meal.lower() in MEAL_TYPES else meal


def gtin(value) -> str:
    require(isinstance(value, str) and re.fullmatch("[0-9]{8}|[0-9]{12,14}", value) is not None)
    require(is_gtin(value) or from_upc_e(value) is not None)
    return value


def is_gtin(digits: str) -> bool:
    return sum(int(digit) * (1, 3)[index % 2] for index, digit in enumerate(reversed(digits))) % 10 == 0


def from_upc_e(code: str) -> str | None:
    """Return the GTIN-12 of a UPC-E, or None if it is none."""
    if not re.fullmatch("[01][0-9]{7}", code):
        return None
    digits = code[1:7]
    kept = {"0": 2, "1": 2, "2": 2, "3": 3, "4": 4}.get(digits[5], 5)  # digits of the manufacturer
    manufacturer = (digits[:2] + digits[5] if kept == 2 else digits[:kept]).ljust(5, "0")
    item = digits[5] if kept == 5 else digits[kept:5]
    full = code[0] + manufacturer + item.rjust(5, "0") + code[7]
    return full if is_gtin(full) else None


def barcode_number(barcode: str) -> str:
    """Return a barcode with 14 digits. Equal barcodes have the same."""
    return (from_upc_e(barcode) or barcode).rjust(14, "0")


def nullable(check: Callable) -> Callable:
    return lambda value: None if value is None else check(value)


def to_json(value):
    """Return a value as in a JSON body: decimals are numbers."""
    if isinstance(value, dict):
        return {key: to_json(each) for key, each in value.items()}
    return float(value) if isinstance(value, Decimal) else value


# Enough for the names in bodies.py.
SAME = str.maketrans({"ł": "l", "ø": "o", "œ": "oe", "ı": "i", "’": "'"})


def fold(text: str) -> str:
    """Return a text without case, accents, strokes and repeated spaces. Names are searched and sorted by it."""
    letters = [each for each in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(each)]
    return " ".join("".join(letters).translate(SAME).split())
