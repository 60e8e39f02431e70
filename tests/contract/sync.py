"""The model of /v1/sync: pull all rows that have changed since a revision, and push products."""

from decimal import Decimal

from tests.contract import products, values
from tests.contract.model import Device, Refused, Response, Row, Unknown, Unordered, invalid, validate
from tests.contract.values import UUID, to_json

LISTS = ("created", "updated", "deleted")

COLUMNS = {
    "products": (
        *("id", "name", "brand", "kcal_100g", "protein_100g", "carbs_100g", "fat_100g"),
        *("sugars_100g", "saturated_fat_100g", "fiber_100g", "salt_100g"),
        *("unit", "barcode", "is_favorite", "catalog_food_id"),
    ),
    "portions": ("id", "product_id", "name", "grams", "is_default"),
    "food_entries": (
        *("id", "product_id", "portion_id", "date", "time", "meal_type", "quantity", "grams"),
        *("portion_name", "portion_grams", "product_name", "unit", "kcal", "protein", "carbs", "fat"),
        *("sugars", "saturated_fat", "fiber", "salt"),
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


def push(device: Device, since: int, body: dict) -> Response:
    """Push products, and rows of tables that the service does not know. `since` is at most the device's revision."""
    if "changes" in body:
        raise invalid(("changes",))
    for table, lists in body.items():
        for name in lists:
            if name not in LISTS:
                raise invalid((table, name))
    created, updated, deleted = (body.get("products", {}).get(name, []) for name in LISTS)
    deleted = {text.lower() for text in deleted if UUID.fullmatch(text.lower())}
    rejected = {"products": [row["id"] for row in created + updated if not is_row_id(row["id"])]}
    rows = {row["id"]: row for row in created + updated if is_row_id(row["id"]) and row["id"] not in deleted}
    if conflicts := find_conflicts(device, since, rows, deleted):
        return Response(409, {"detail": Unknown("text"), "conflicts": {"products": Unordered(conflicts)}})
    for row in filter(None, (device.find("products", row_id) for row_id in deleted)):
        for each in (row, *device.rows("portions", product_id=row["id"])):
            each.deleted_in = device.revision + 1
            device.stamp(each)
    rejected["products"] += [row_id for row_id, sent in rows.items() if not store(device, row_id, sent)]
    device.commit()
    for table in body.keys() - COLUMNS.keys():
        created, updated, deleted = (body[table].get(name, []) for name in LISTS)
        rejected[table] = [*(row["id"] for row in created + updated), *deleted]
    named = {table: Unordered(dict.fromkeys(ids)) for table, ids in rejected.items() if ids}
    return Response(
        200,
        {
            "experimentalRejectedIds": named,
            "rejected": Unordered(
                {"table": table, "id": row_id, "errors": AnyErrors("text")}
                for table, ids in named.items()
                for row_id in ids
            ),
        },
    )


def is_row_id(text: str) -> bool:
    try:
        return values.row_id(text) == text
    except ValueError:
        return False


class AnyErrors(Unknown):
    """The errors of a rejected row."""

    def accepts(self, value) -> bool:
        return bool(value) and all(error.keys() >= {"loc", "msg", "type"} for error in value)


def find_conflicts(device: Device, since: int, rows: dict[str, dict], deleted: set[str]) -> list[str]:
    newer = {row["id"]: row for row in device.all_rows("products") if row.revision > since}
    conflicts = [row_id for row_id in deleted if row_id in newer and not newer[row_id].deleted]
    for row_id, sent in rows.items():
        stored = newer.get(row_id)
        if stored and (stored.deleted or not equals(stored, sent)):
            conflicts.append(row_id)
    return conflicts


def check(sent: dict, required: tuple = ()) -> dict:
    """Return the values of the columns sent. A blank brand is null, and an empty unit counts as not sent."""
    brand = sent.get("brand")
    if isinstance(brand, str) and not brand.strip():
        sent = sent | {"brand": None}
    if sent.get("unit") in ("", None):
        sent = {name: value for name, value in sent.items() if name != "unit"}
    return validate(sent, products.FIELDS, required)


def equals(row: Row, sent: dict) -> bool:
    try:
        return all(row[name] == value for name, value in check(sent).items())
    except Refused:
        return False


def store(device: Device, row_id: str, sent: dict) -> bool:
    """Create or change a product. Return False if it is rejected."""
    stored = next((row for row in device.all_rows("products") if row["id"] == row_id), None)
    if stored and stored.deleted:
        device.stamp(stored)  # so that the next pull has its deletion again
        return True
    try:
        new = check(sent, () if stored else products.REQUIRED)
    except Refused:
        return False
    barcode = new.get("barcode")
    is_new = stored is None or stored["barcode"] != barcode
    others = [row for row in products.rows_with_barcode(device, barcode) if row is not stored]
    if (is_new and others) or (stored is None and row_id in device.service.used_ids("products")):
        return False
    if stored is None:
        device.add("products", {"id": row_id} | products.DEFAULTS | new)
        default = {"product_id": row_id, "name": "100g", "grams": Decimal(100), "is_default": True}
        device.add("portions", default)
        return True
    device.change(stored, new)
    if any(name not in new or to_json(new[name]) != sent[name] for name in products.FIELDS if name in sent):
        device.stamp(stored)  # it is stored differently from what was sent
    return True
