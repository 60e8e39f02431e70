"""Store batches of foods with their portions: a few statements, each with all rows in one JSON parameter."""

from collections.abc import Iterable
from datetime import datetime
from functools import cache
from operator import attrgetter, itemgetter
from zlib import crc32

import orjson
from django.db import connection, models

from catalog.food import Food
from catalog.models import CatalogFood, CatalogPortion, CatalogRelease, CatalogSpelling
from countonme.db.bulk import quote, sent_rows_sql
from nutrition.nutrients import NAMES_100G

OWN_COLUMNS = (  # those that a Food has under the same name
    *("source", "source_id", "barcode", "name", "brand", "lang", "countries", "unit", "kcal_100g"),
    *("first", "tier", "weight", "scans", "source_modified"),
)
own_values, nutrients = attrgetter(*OWN_COLUMNS), itemgetter(*NAMES_100G)
COLUMNS = {
    CatalogFood: ("uuid", "words", "portions_hash", *NAMES_100G, *OWN_COLUMNS, "release", "updated_at"),
    CatalogPortion: ("food", "position", "name", "grams"),
    CatalogSpelling: ("word", "squeezed", "foods"),
}
# What a food is compared by: an import that changes nothing writes nothing.
UNCOMPARED = {"uuid", "release", "updated_at"}


def store(foods: list[Food], release: CatalogRelease, now: datetime) -> int:
    """Store new foods and newer versions of stored ones. Return how many there were. Call it in a transaction."""
    updated_at = str(connection.ops.adapt_datetimefield_value(now))
    rows = (
        (
            *(food.id.hex, " ".join(food.words), crc32(repr(food.portions).encode())),
            *(*nutrients(food.nutrients), *own_values(food), release.pk, updated_at),
        )
        for food in foods
    )
    with connection.cursor() as cursor:
        cursor.execute(upsert_sql(), [to_json(rows)])
        serials = {str(uuid).replace("-", ""): serial for serial, uuid in cursor.fetchall()}
        if serials:
            CatalogPortion.objects.filter(food__in=serials.values()).delete()
            portions = (
                (serials[food.id.hex], position, name, grams)
                for food in foods
                if food.portions and food.id.hex in serials
                for position, (name, grams) in enumerate(food.portions)
            )
            cursor.execute(insert_sql(CatalogPortion), [to_json(portions)])
    return len(serials)


def add_spellings(spellings: Iterable[tuple[str, str, int]]) -> None:
    """Store words, each with its squeezed form and its number of foods."""
    with connection.cursor() as cursor:
        cursor.execute(insert_sql(CatalogSpelling), [to_json(spellings)])


def to_json(rows: Iterable[tuple]) -> str:
    """Return the rows as a JSON array of objects, whose keys are the columns' positions."""
    return orjson.dumps([dict(zip(KEYS, row, strict=False)) for row in rows]).decode()


KEYS = tuple(map(str, range(100)))


def fields_of(model: type[models.Model]) -> list[models.Field]:
    return [model._meta.get_field(name) for name in COLUMNS[model]]


@cache
def insert_sql(model: type[models.Model]) -> str:
    fields = fields_of(model)
    names = ", ".join(quote(field.column) for field in fields)
    return f"INSERT INTO {quote(model._meta.db_table)} ({names}) SELECT {names} FROM {sent_rows_sql(fields)}"  # noqa: S608


@cache
def upsert_sql() -> str:
    """Return the statement that inserts new foods, and updates those of which a newer or different version is sent.

    Tier 2 means any tier but 0: which foods are popular is decided when all are stored.
    """
    fields = fields_of(CatalogFood)
    tier = "CASE WHEN excluded.tier = 2 THEN COALESCE(catalog_foods.tier, 2) ELSE excluded.tier END"
    values = {
        quote(field.column): tier if field.name == "tier" else f"excluded.{quote(field.column)}" for field in fields
    }
    updates = ", ".join(f"{name} = {value}" for name, value in values.items() if name != quote("uuid"))
    compared = [quote(field.column) for field in fields if field.name not in UNCOMPARED]
    before = ", ".join(f"catalog_foods.{name}" for name in compared)
    after = ", ".join(values[name] for name in compared)
    differs = "IS DISTINCT FROM" if connection.vendor == "postgresql" else "IS NOT"
    # Without WHERE, SQLite parses ON as the condition of a join.
    return (
        f"{insert_sql(CatalogFood)} WHERE true ON CONFLICT ({quote('uuid')}) DO UPDATE SET {updates}"
        f" WHERE excluded.source_modified >= catalog_foods.source_modified AND ({before}) {differs} ({after})"
        " RETURNING serial, uuid"
    )
