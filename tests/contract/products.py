"""The model of /v1/products."""

from decimal import Decimal

from tests.contract import portions
from tests.contract.model import Device, Refused, Response, Row, page, validate, validate_new
from tests.contract.values import amount, fold, gtin, integer, name, nullable

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
BARCODE_TAKEN = "Another product has this barcode."


def represent(row: Row) -> dict:
    return row.to_json() | {"portions": [portion.to_json() for portion in portions.of_product(row.device, row["id"])]}


def read(device: Device, product_id) -> Response:
    return Response(200, represent(device.get("products", product_id)))


def create(device: Device, body: dict) -> Response:
    if retry := device.find("products", body.get("id")):
        return Response(200, represent(retry))
    values = dict.fromkeys(FIELDS) | validate_new(body, FIELDS, REQUIRED)
    if has_barcode(device, values["barcode"]):
        id_is_taken = body.get("id") in device.service.used_ids("products")
        raise Refused(409, None if id_is_taken else BARCODE_TAKEN)  # if both are taken, either detail is correct
    row = device.add("products", values)
    default = {"product_id": row["id"], "name": "100g", "grams": Decimal(100), "is_default": True}
    device.add("portions", default)
    device.commit()
    return Response(201, represent(row))


def has_barcode(device: Device, barcode: str | None) -> bool:
    return barcode is not None and bool(device.rows("products", barcode=barcode))


def change(device: Device, product_id, body: dict) -> Response:
    row = device.get("products", product_id)
    values = validate(body, FIELDS)
    if values.get("barcode") != row["barcode"] and has_barcode(device, values.get("barcode")):
        raise Refused(409, BARCODE_TAKEN)
    device.change(row, values)
    device.commit()
    return Response(200, represent(row))


def delete(device: Device, product_id) -> Response:
    return device.delete(device.get("products", product_id), *device.rows("portions", product_id=product_id))


def list_all(device: Device, query: dict) -> Response:
    rows = sorted(device.rows("products"), key=lambda row: (fold(row["name"]), row["id"]))
    if "search" in query:
        rows = [row for row in rows if fold(query["search"]) in fold(row["name"])]
    if "barcode" in query:
        rows = [row for row in rows if row["barcode"] == query["barcode"]]
    return page(rows, query, represent)
