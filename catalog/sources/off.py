"""Read foods of Open Food Facts: its dumps and daily deltas, JSONL or CSV, gzipped or not.

Rows of the JSONL have their nutrients in one of two schemas: those saved since autumn 2025 in `nutrition`, older ones
in `nutriments`. The CSV has the new ones only, and no languages. It is separated by tabs and has no quotes.
"""

import gzip
import math
import re
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator
from io import BufferedReader
from itertools import chain
from operator import itemgetter
from typing import BinaryIO

import orjson

from catalog.food import (
    BRAND_LENGTH,
    SALT_PER_SODIUM,
    Food,
    Refused,
    add_words,
    check_energy_of_macros,
    checked_energy,
    checked_name,
    checked_nutrients,
    checked_portions,
    clean,
    cut,
    gtin_14,
    number,
)
from catalog.sources import OFF

MAX_LINE = 4 * 1024 * 1024  # bytes; a product has 20 KiB on average
MAX_SKIPPED = 1024 * 1024 * 1024  # bytes of one line, after which the file is no dump
MAX_COUNTRIES = 500  # characters
LANGUAGE = re.compile("[a-z]{2,3}")
GZIP = b"\x1f\x8b"
BUFFER = 128 * 1024  # bytes

NUTRIENTS = {
    "protein_100g": "proteins",
    "carbs_100g": "carbohydrates",
    "fat_100g": "fat",
    "sugars_100g": "sugars",
    "saturated_fat_100g": "saturated-fat",
    "fiber_100g": "fiber",
    "salt_100g": "salt",
}
OTHER_NUTRIENTS = ("sodium", "alcohol", "energy-kcal", "energy-kj", "energy")
PER_100G = {name: f"{name}_100g" for name in (*NUTRIENTS.values(), *OTHER_NUTRIENTS)}  # in the older schema and the CSV
COLUMNS = frozenset(
    (
        *("code", "product_name", "brands", "countries_tags", "serving_size", "serving_quantity", "unique_scans_n"),
        *("last_modified_t", *PER_100G.values()),
    )
)
REQUIRED_COLUMNS = frozenset(("product_name", "energy-kcal_100g"))


class UnreadableFile(Exception):
    """The file is no dump, or is damaged. The message is for the operator."""


def open_dump(file: BinaryIO) -> BinaryIO:
    """Return the uncompressed file. `file` must be buffered."""
    if file.peek(2)[:2] != GZIP:
        return file
    return BufferedReader(gzip.GzipFile(fileobj=file), BUFFER)  # GzipFile's own buffer is smaller than some lines


def lines(file: BinaryIO) -> Iterator[bytes | None]:
    """Yield each line, or None for a line that is too long. So a line takes at most MAX_LINE bytes of memory."""
    try:
        while line := file.readline(MAX_LINE):
            skipped = 0
            while not line.endswith(b"\n") and len(line) == MAX_LINE:
                skipped += len(line)
                if skipped > MAX_SKIPPED:
                    raise UnreadableFile(f"A line has more than {MAX_SKIPPED:,} bytes.")
                line = file.readline(MAX_LINE)
            yield None if skipped else line
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UnreadableFile(f"The file is damaged or was not downloaded completely: {error}") from error


def read(file: BinaryIO, languages: Collection[str] = (), countries: Collection[str] = ()) -> Iterator[Food | Refused]:
    """Yield each food, or why it is refused. Rows of other languages and countries are refused too, if any are given.

    Raise UnreadableFile if the file has another form, or is damaged.
    """
    rows = lines(open_dump(file))
    header = next(rows, b"")
    if header is None or not header.strip():
        raise UnreadableFile("The file is empty, or is neither the JSONL nor the CSV of Open Food Facts.")
    if header.lstrip().startswith(b"{"):
        documents = json_documents(chain([header], rows))
    elif header.startswith(b"code\t"):
        if languages:
            raise UnreadableFile("The CSV has no languages. Use the JSONL, or leave out --languages.")
        columns = text_of(header).split("\t")
        if missing := REQUIRED_COLUMNS.difference(columns):
            raise UnreadableFile(f"The CSV has no column {min(missing)}.")
        documents = csv_documents(rows, columns)
    else:
        raise UnreadableFile("The file is neither the JSONL nor the CSV of Open Food Facts.")
    languages = frozenset(languages)
    wanted = frozenset(country if ":" in country else f"en:{country}" for country in countries)
    for document in documents:
        try:
            if isinstance(document, Refused):
                raise document
            yield food_of(document, languages, wanted)
        except Refused as refusal:
            yield refusal


def json_documents(rows: Iterable[bytes | None]) -> Iterator[dict | Refused]:
    for row in rows:
        if row is None:
            yield Refused("too_long")
        elif row.strip():
            try:
                document = orjson.loads(row)
            except orjson.JSONDecodeError:
                document = None
            yield document if isinstance(document, dict) else Refused("unreadable")


def csv_documents(rows: Iterable[bytes | None], columns: list[str]) -> Iterator[dict | Refused]:
    """Yield the rows of the CSV as documents, with texts for all values. The columns that are not read are left out."""
    places = [place for place, name in enumerate(columns) if name in COLUMNS]
    names, values_at, end = [columns[place] for place in places], itemgetter(*places), places[-1] + 1
    for row in rows:
        if row is None:
            yield Refused("too_long")
        elif row.count(b"\t") == len(columns) - 1:
            document = dict(zip(names, values_at(text_of(row).split("\t", end)), strict=True))
            document["nutriments"] = document
            document["countries_tags"] = document.get("countries_tags", "").split(",")
            yield document
        elif row.strip():
            yield Refused("unreadable")


def text_of(line: bytes) -> str:
    return line.decode(errors="replace").rstrip("\r\n")


def food_of(document: dict, languages: Collection[str], countries: Collection[str]) -> Food:
    tags = [tag for tag in as_list(document.get("countries_tags")) if isinstance(tag, str)]
    lang = language_of(document.get("lang"))
    if languages and lang not in languages:
        raise Refused("other_language")
    if countries and countries.isdisjoint(tags):
        raise Refused("other_country")
    code = document.get("code")
    barcode = gtin_14(code)
    if barcode is None:
        raise Refused("no_gtin")
    name = checked_name(document.get("product_name") or document.get(f"product_name_{lang}"))
    per_100g, unit = nutrients_of(document)
    energy = checked_energy(per_100g("energy-kcal"), first_of(per_100g("energy-kj"), per_100g("energy")))
    nutrients = {column: per_100g(nutrient) for column, nutrient in NUTRIENTS.items()}
    if nutrients["salt_100g"] is None and (sodium := per_100g("sodium")) is not None:
        nutrients["salt_100g"] = sodium * SALT_PER_SODIUM
    nutrients = checked_nutrients(nutrients)
    check_energy_of_macros(energy, nutrients, per_100g("alcohol"))
    food = Food(
        source=OFF.name,
        source_id=code,
        barcode=barcode,
        name=name,
        brand=cut(clean(document.get("brands")).partition(",")[0], BRAND_LENGTH[1]) or None,
        lang=lang,
        countries=clean(",".join(tags))[:MAX_COUNTRIES],
        unit=unit,
        kcal_100g=energy,
        nutrients=nutrients,
        scans=min(max(int(number(document.get("unique_scans_n")) or 0), 0), 10**9),
        source_modified=min(max(int(number(document.get("last_modified_t")) or 0), 0), 2**40),
        portions=servings_of(document),
    )
    add_words(food)
    food.weight = round(10 * math.log2(1 + food.scans)) + 3 * (food.brand is not None) - min(20, len(food.words))
    return food


def nutrients_of(document: dict) -> tuple[Callable[[str], float | None], str]:
    """Return a function that reads a nutrient per 100 g or 100 ml, and which of the two it is."""
    nutrition = as_dict(as_dict(document.get("nutrition")).get("aggregated_set"))
    new = as_dict(nutrition.get("nutrients"))
    if new and nutrition.get("per") in ("100g", "100ml") and nutrition.get("preparation", "as_sold") == "as_sold":
        return lambda name: number(as_dict(new.get(name)).get("value")), nutrition["per"].removeprefix("100")
    old = as_dict(document.get("nutriments"))
    return lambda name: number(old.get(PER_100G[name])), "ml" if document.get("nutrition_data_per") == "100ml" else "g"


def servings_of(document: dict) -> list[tuple[str, float]]:
    if document.get("serving_quantity_unit") not in (None, "", "g", "ml"):
        return []
    return checked_portions([(document.get("serving_size"), number(document.get("serving_quantity")))])


def language_of(value) -> str | None:
    return value if isinstance(value, str) and LANGUAGE.fullmatch(value) else None


def first_of(*values: float | None) -> float | None:
    return next((value for value in values if value is not None), None)


def as_dict(value) -> dict:
    return value if isinstance(value, dict) else {}


def as_list(value) -> list:
    return value if isinstance(value, list) else []
