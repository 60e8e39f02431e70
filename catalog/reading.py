"""Read foods from the database, in the form that clients get, and the imports that ended."""

from django.db.models import QuerySet

from catalog.models import CatalogFood, CatalogPortion, CatalogRelease
from catalog.sources import SOURCES
from countonme.db.compiled import compiled_query, id_filter
from nutrition.nutrients import NAMES_100G

COLUMNS = (
    *("uuid", "name", "brand", "lang", "barcode", "unit", "kcal_100g", *NAMES_100G),
    *("source", "source_id", "tier", "updated_at"),
)


def load(ids: list[str]) -> list[dict]:
    """Return the foods in the order of their ids, as clients read them. Takes two queries."""
    if not ids:
        return []
    rows = {row["uuid"]: row for row in foods_by_id.json(**id_filter("uuid", ids))}
    return with_portions([rows[food_id] for food_id in ids if food_id in rows])


def find_barcode(gtin: str) -> list[dict]:
    """Return the food that has the barcode in a list, which is empty if none has it. Takes two queries."""
    return with_portions(foods_by_barcode.json(gtin=gtin, limit=1))


def with_portions(rows: list[dict]) -> list[dict]:
    if not rows:
        return []
    foods = {row["uuid"]: represent(row) for row in rows}
    for portion in portions_by_food.json(**id_filter("food__uuid", foods)):
        portions = foods[portion["food__uuid"]]["portions"]
        portions.append({"name": portion["name"], "grams": portion["grams"], "is_default": not portions})
    return list(foods.values())


def represent(row: dict) -> dict:
    source = SOURCES[row["source"]]
    return {
        "id": row["uuid"],
        "name": row["name"],
        "brand": row["brand"],
        "lang": row["lang"],
        "barcode": row["barcode"],
        "unit": row["unit"],
        "kcal_100g": row["kcal_100g"],
        **{name: row[name] for name in NAMES_100G},
        "portions": [],
        "source": source.name,
        "source_id": row["source_id"],
        "source_url": source.url_of(row["source_id"]),
        "license": source.license,
        "attribution": source.attribution,
        "withdrawn": row["tier"] is None,
        "updated_at": row["updated_at"],
    }


@compiled_query
def foods_by_id(**foods) -> QuerySet:
    return CatalogFood.objects.filter(**foods).order_by("uuid").values(*COLUMNS)


@compiled_query
def foods_by_barcode(gtin) -> QuerySet:
    return CatalogFood.objects.filter(barcode=gtin, tier__isnull=False).order_by("uuid").values(*COLUMNS)


@compiled_query
def portions_by_food(**of_foods) -> QuerySet:
    portions = CatalogPortion.objects.filter(**of_foods).order_by("food__uuid", "position")
    return portions.values("food__uuid", "name", "grams")


@compiled_query
def finished_releases(source) -> QuerySet:
    releases = CatalogRelease.objects.filter(source=source, finished_at__isnull=False)
    return releases.order_by("-pk").values_list("id", "foods", "finished_at")
