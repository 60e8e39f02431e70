"""Read foods of the USDA: the National Nutrient Database for Standard Reference (SR28) and Foundation Foods.

SR28 has files `FOOD_DES.txt`, `NUT_DATA.txt` and `WEIGHT.txt`: fields separated by `^`, texts in `~`, latin-1.
Foundation Foods are the CSV files of FoodData Central. Both have NDB numbers. A food that both have is one food.
"""

import csv
import math
import re
import zipfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, date, datetime
from io import TextIOWrapper
from pathlib import Path
from typing import NamedTuple

from catalog.food import (
    BRAND_LENGTH,
    SALT_PER_SODIUM,
    Food,
    Refused,
    add_words,
    checked_energy,
    checked_name,
    checked_nutrients,
    checked_portions,
    clean,
    cut,
    number,
)
from catalog.sources import USDA

SR28_MODIFIED = datetime(2015, 9, 1, tzinfo=UTC)
ANALYZED = ("203", "204")  # protein and fat
BABY_FOODS = ("0300", "3")  # the food group of SR28, the category of FoodData Central

# The numbers of nutrients: of SR28, and of FoodData Central. The first one that a food has counts.
SR28_NUTRIENTS = {
    "protein_100g": ("203",),
    "carbs_100g": ("205",),
    "fat_100g": ("204",),
    "sugars_100g": ("269",),
    "saturated_fat_100g": ("606",),
    "fiber_100g": ("291",),
    "sodium": ("307",),  # mg
    "kcal": ("208",),
}
FDC_NUTRIENTS = {
    "protein_100g": ("1003",),
    "carbs_100g": ("1005",),
    "fat_100g": ("1004", "1085"),
    "sugars_100g": ("2000", "1063"),
    "saturated_fat_100g": ("1258",),
    "fiber_100g": ("1079", "2033"),
    "sodium": ("1093",),
    "kcal": ("1008", "2048", "2047"),
}

# What a name begins with, if it says the kind of the food before the food: `Beverages, coffee, brewed`.
KINDS = frozenset(
    (
        "Alcoholic beverage|Babyfood|Beverages|Candies|Cereals|Cereals ready-to-eat|Cheese|Crustaceans|Fast foods|Fish"
        "|Frozen novelties|Game meat|Infant formula|Leavening agents|Mollusks|Nuts|Oil|Restaurant|Salad dressing"
        "|School Lunch|Seeds|Snacks|Spices|Sweeteners|USDA Commodity"
    )
    .lower()
    .split("|")
)
NDB = re.compile("(?!0+$)[0-9]{5,8}")
BRAND = re.compile(r"\b(?!USDA|NFSMI|WIC|UHT|DHA|ARA|BBQ|MSG|NS\b)[A-Z][A-Z'&-]*[A-Z]{2}")
NOT_AN_ALIAS = re.compile(r"includes? usda commodity.*|usda commodity.*|urmis #\s*\d+|nfsmi recipe.*", re.IGNORECASE)

# The weight of a food in the order of a search: what people eat, and usually mean.
EATEN = 8  # USDA's dietary surveys have it
PLAIN = re.compile(r"\b(raw|plain|regular|whole)\b", re.IGNORECASE)
SPECIAL = re.compile(
    r"\b(dry|dried|dehydrated|powder|powdered|imitation|substitute|mix|frozen|canned|low|lowfat|low-fat|nonfat|fat-free"
    r"|reduced|light|diet|dietetic|unsweetened|unenriched|instant|concentrate)\b",
    re.IGNORECASE,
)
PREPARED = re.compile(r"\b(fast foods?|meal|restaurant|school lunch)\b", re.IGNORECASE)


class UnreadableFiles(Exception):
    """The message is for the operator."""


class Row(NamedTuple):
    """A food of either data set, with its texts and numbers as they are."""

    ndb: str
    name: str
    group: str
    modified: datetime
    nutrients: dict[str, tuple[str, ...]]  # their numbers in this table, by their names
    amounts: dict[str, float]  # by the number of the nutrient
    data_points: int  # analyses of protein and fat
    portions: list[tuple[str, float | None]]
    is_eaten: bool
    aliases: str = ""
    manufacturer: str = ""


class Files:
    """The files of a folder or of a ZIP archive, by their names, in whichever folder of it they are."""

    def __init__(self, path: Path):
        if path.is_dir():
            self.paths = {file.name: file for file in path.rglob("*") if file.is_file()}
        else:
            archive = zipfile.ZipFile(path)
            self.paths = {file.name: file for file in walk(zipfile.Path(archive))}

    def __contains__(self, name: str) -> bool:
        return name in self.paths

    def open(self, name: str, encoding: str) -> TextIOWrapper:
        if name not in self.paths:
            raise UnreadableFiles(f"there is no {name}.")
        try:
            return self.paths[name].open("r", encoding=encoding, errors="replace", newline="")
        except RuntimeError as error:  # the archive is encrypted, or compressed in an unknown way
            raise UnreadableFiles(f"{error}.") from error


def walk(folder: zipfile.Path) -> Iterator[zipfile.Path]:
    for path in folder.iterdir():
        yield from walk(path) if path.is_dir() else (path,)


def read(files: Files) -> Iterator[Food | Refused]:
    """Yield each food, or why it is refused. Raise UnreadableFiles if files or columns are missing."""
    try:
        for row in rows(files):
            try:
                yield food_of(row)
            except Refused as refusal:
                yield refusal
    except KeyError as error:
        raise UnreadableFiles(f"there is no column {error}.") from error


def rows(files: Files) -> Iterator[Row]:
    if not {"FOOD_DES.txt", "foundation_food.csv"} & files.paths.keys():
        raise UnreadableFiles("there is neither FOOD_DES.txt of SR28 nor foundation_food.csv of Foundation Foods.")
    if "FOOD_DES.txt" in files:
        yield from sr28_rows(files)
    if "foundation_food.csv" in files:
        yield from foundation_rows(files)


def food_of(row: Row) -> Food:
    if not NDB.fullmatch(row.ndb):
        raise Refused("unreadable")
    values = {
        name: next((row.amounts[number] for number in numbers if number in row.amounts), None)
        for name, numbers in row.nutrients.items()
    }
    sodium = values.pop("sodium")
    values["salt_100g"] = None if sodium is None else sodium / 1000 * SALT_PER_SODIUM
    brand = cut(clean(row.manufacturer), BRAND_LENGTH[1]) or None
    has_brand = brand is not None or BRAND.search(row.name) is not None
    food = Food(
        source=USDA.name,
        source_id=row.ndb,
        name=checked_name(row.name),
        brand=brand,
        lang="en",
        countries="en:united-states",
        kcal_100g=checked_energy(values.pop("kcal"), None),
        nutrients=checked_nutrients(values),
        tier=int(has_brand or row.group in BABY_FOODS),
        portions=checked_portions(row.portions),
        source_modified=int(row.modified.timestamp()),
    )
    food.weight = weight(food.name, row)
    kind, _, rest = food.name.partition(", ")
    aliases = (alias for alias in row.aliases.split(",") if not NOT_AN_ALIAS.fullmatch(alias.strip()))
    add_words(food, name=rest if kind.lower() in KINDS else None, aliases=[*aliases])
    return food


def weight(name: str, row: Row) -> int:
    special = {word.lower() for word in SPECIAL.findall(name)}
    return round(
        100
        + EATEN * row.is_eaten
        + min(5, len(row.portions))
        + min(8, math.log2(1 + row.data_points))
        + 4 * bool(PLAIN.search(name))
        - 3 * min(3, len(special))
        - 5 * bool(PREPARED.search(name))
    )


def sr28_rows(files: Files) -> Iterator[Row]:
    wanted = {number for numbers in SR28_NUTRIENTS.values() for number in numbers}
    amounts, data_points, portions = defaultdict(dict), defaultdict(int), defaultdict(list)
    for ndb, nutrient, amount, points, *_ in sr28_records(files, "NUT_DATA.txt", 4):
        if nutrient in wanted and (value := number(amount)) is not None:
            amounts[ndb][nutrient] = value
            if nutrient in ANALYZED:
                data_points[ndb] += int(number(points) or 0)
    for ndb, _, amount, measure, grams, *_ in sr28_records(files, "WEIGHT.txt", 5):
        portions[ndb].append((portion_name(amount, measure), number(grams)))
    for ndb, group, name, _, aliases, manufacturer, survey, *_ in sr28_records(files, "FOOD_DES.txt", 7):
        yield Row(
            ndb=ndb,
            name=name,
            group=group,
            modified=SR28_MODIFIED,
            nutrients=SR28_NUTRIENTS,
            amounts=amounts[ndb],
            data_points=data_points[ndb],
            portions=portions[ndb],
            is_eaten=survey == "Y",
            aliases=aliases,
            manufacturer=manufacturer,
        )


def sr28_records(files: Files, name: str, fields: int) -> Iterator[list[str]]:
    with files.open(name, "latin-1") as file:
        for line in file:
            record = [value.strip("~") for value in line.rstrip("\r\n").split("^")]
            if len(record) >= fields:
                yield record


def foundation_rows(files: Files) -> Iterator[Row]:
    foods = {record["fdc_id"]: record["NDB_number"].zfill(5) for record in csv_records(files, "foundation_food.csv")}
    units = {record["id"]: record["name"] for record in csv_records(files, "measure_unit.csv")}
    wanted = {number for numbers in FDC_NUTRIENTS.values() for number in numbers}
    amounts, data_points, portions = defaultdict(dict), defaultdict(int), defaultdict(list)
    for record in csv_records(files, "food_nutrient.csv"):
        food, nutrient = record["fdc_id"], record["nutrient_id"]
        if food in foods and nutrient in wanted and (value := number(record["amount"])) is not None:
            amounts[food][nutrient] = value
            if nutrient in ("1003", "1004", "1085"):
                data_points[food] += int(number(record["data_points"]) or 0)
    for record in csv_records(files, "food_portion.csv"):
        unit = units.get(record["measure_unit_id"], "")
        measure = f"{'' if unit == 'undetermined' else unit} {record['portion_description']} {record['modifier']}"
        portions[record["fdc_id"]].append((portion_name(record["amount"], measure), number(record["gram_weight"])))
    for record in csv_records(files, "food.csv"):
        food = record["fdc_id"]
        if food in foods:
            yield Row(
                ndb=foods[food],
                name=record["description"],
                group=record["food_category_id"],
                modified=published(record["publication_date"]),
                nutrients=FDC_NUTRIENTS,
                amounts=amounts[food],
                data_points=data_points[food],
                portions=portions[food],
                is_eaten=True,  # the foods that people eat most
            )


def csv_records(files: Files, name: str) -> Iterator[dict[str, str]]:
    with files.open(name, "utf-8") as file:
        try:
            yield from csv.DictReader(file, restval="")
        except csv.Error as error:
            raise UnreadableFiles(f"{name}: {error}.") from error


def published(text: str) -> datetime:
    with suppress(ValueError):
        return datetime.combine(date.fromisoformat(text), datetime.min.time(), UTC)
    return datetime(2019, 4, 1, tzinfo=UTC)  # the first release of FoodData Central


def portion_name(amount: str, measure: str) -> str:
    """Return `cup` for one cup, and `3 oz` for three ounces."""
    value = number(amount)
    return clean(measure if value in (None, 1) else f"{value:g} {measure}")
