"""The model of GET /v1/sync: all rows that have changed since a revision."""

from tests.contract.model import Device, Response, Row, Unordered
from tests.contract.values import to_json

COLUMNS = {
    "products": ("id", "name", "kcal_100g", "protein_100g", "carbs_100g", "fat_100g", "barcode"),
    "portions": ("id", "product_id", "name", "grams", "is_default"),
    "food_entries": (
        *("id", "product_id", "portion_id", "date", "time", "meal_type", "quantity", "grams"),
        *("product_name", "kcal", "protein", "carbs", "fat"),
    ),
}


def pull(device: Device, since: int) -> Response:
    changes = {}
    for table, columns in COLUMNS.items():
        rows = [row for row in device.all_rows(table) if row.revision > since]
        changes[table] = {
            "created": [],
            "updated": Unordered(represent(row, columns) for row in rows if not row.deleted),
            "deleted": Unordered(row["id"] for row in rows if row.deleted and since),  # a first pull has none
        }
    return Response(200, {"changes": changes, "timestamp": device.revision})


def represent(row: Row, columns: tuple[str, ...]) -> dict:
    return {column: to_json(row[column]) for column in columns}
