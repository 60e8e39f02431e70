"""The model of /v1/products."""

from decimal import Decimal

from tests.contract import portions
from tests.contract.model import Device, Refused, Response, Row, page, validate, validate_new
from tests.contract.values import amount, barcode_number, fold, gtin, integer, name, nullable

NUTRIENT = nullable(amount("0", 100))
FIELDS = {
    "name": name,
    "kcal_100g": integer(0, 1000),
    "protein_100g": NUTRIENT,
    "carbs_100g": NUTRIENT,
    "fat_100g": NUTRIENT,
    "barcode": nullable(gtin),
}
REQUIRED = ("name", "kcal_100g")


def represent(row: Row) -> dict:
    return row.to_json() | {"portions": [portion.to_json() for portion in portions.of_product(row.device, row["id"])]}


def read(device: Device, product_id) -> Response:
    return Response(200, represent(device.get("products", product_id)))


def create(device: Device, body: dict) -> Response:
    if retry := device.find("products", body.get("id")):
        return Response(200, represent(retry))
    values = dict.fromkeys(FIELDS) | validate_new(body, FIELDS, REQUIRED)
    if with_barcode := rows_with_barcode(device, values["barcode"]):
        if body.get("id") in device.service.used_ids("products"):
            raise Refused(409, conflict=None)  # both are taken: the service may name either
        raise barcode_taken(with_barcode)
    row = device.add("products", values)
    default = {"product_id": row["id"], "name": "100g", "grams": Decimal(100), "is_default": True}
    device.add("portions", default)
    device.commit()
    return Response(201, represent(row))


def rows_with_barcode(device: Device, barcode: str | None) -> list[Row]:
    """Return the live product with this barcode, in any spelling."""
    with_one = [row for row in device.rows("products") if row["barcode"]]
    return [row for row in with_one if barcode and barcode_number(row["barcode"]) == barcode_number(barcode)]


def barcode_taken(rows: list[Row]) -> Refused:
    return Refused(409, "Another product has this barcode.", conflict=[row["id"] for row in rows])


def change(device: Device, product_id, body: dict) -> Response:
    row = device.get("products", product_id)
    values = validate(body, FIELDS)
    with_barcode = rows_with_barcode(device, values.get("barcode"))
    if with_barcode and row not in with_barcode:
        raise barcode_taken(with_barcode)
    device.change(row, values)
    device.commit()
    return Response(200, represent(row))


def delete(device: Device, product_id) -> Response:
    return device.delete(device.get("products", product_id), *device.rows("portions", product_id=product_id))


def restore(device: Device, product_id) -> Response:
    """Restore a product and the portions that were deleted with it."""
    row = device.get_deleted_or_live("products", product_id)
    if row.deleted:
        if with_barcode := rows_with_barcode(device, row["barcode"]):
            raise barcode_taken(with_barcode)
        portions = [one for one in device.all_rows("portions") if one["product_id"] == product_id]
        device.restore(row, *[one for one in portions if one.deleted_in == row.deleted_in])
    return Response(200, represent(row))


def list_all(device: Device, query: dict) -> Response:
    rows = sorted(device.rows("products"), key=lambda row: (fold(row["name"]), row["id"]))
    if "search" in query:
        words = fold(query["search"]).split()
        rows = [row for row in rows if all(word in fold(row["name"]) for word in words)]
    if "barcode" in query:
        same = rows_with_barcode(device, query["barcode"])
        rows = [row for row in rows if row in same]
    return page(rows, query, represent)
