"""The model of /v1/products."""

from decimal import Decimal

from tests.contract import portions
from tests.contract.model import (
    Device,
    Refused,
    Response,
    Row,
    id_taken,
    invalid,
    page,
    validate,
    validate_new,
)
from tests.contract.values import (
    UUID,
    amount,
    barcode_number,
    boolean,
    fold,
    gtin,
    integer,
    name,
    nullable,
    row_id,
    unit,
)

NUTRIENT = nullable(amount("0", 100))
FIELDS = {
    "name": name,
    "brand": nullable(name),
    "kcal_100g": integer(0, 1000),
    "protein_100g": NUTRIENT,
    "carbs_100g": NUTRIENT,
    "fat_100g": NUTRIENT,
    "sugars_100g": NUTRIENT,
    "saturated_fat_100g": NUTRIENT,
    "fiber_100g": NUTRIENT,
    "salt_100g": NUTRIENT,
    "unit": unit,
    "barcode": nullable(gtin),
    "is_favorite": boolean,
    "catalog_food_id": nullable(row_id),
}
DEFAULTS = dict.fromkeys(FIELDS) | {"unit": "g", "is_favorite": False}
REQUIRED = ("name", "kcal_100g")


def is_uuid(value) -> bool:
    return isinstance(value, str) and UUID.fullmatch(value) is not None


def represent(row: Row) -> dict:
    return row.to_json() | {"portions": [portion.to_json() for portion in portions.of_product(row.device, row["id"])]}


def read(device: Device, product_id) -> Response:
    return Response(200, represent(device.get("products", product_id)))


def create(device: Device, body: dict) -> Response:
    if retry := device.find("products", body.get("id")):
        return Response(200, represent(retry))
    if is_uuid(body.get("catalog_food_id")) and not body.keys() >= set(REQUIRED):
        raise invalid(("catalog_food_id",))  # the catalogue is empty
    values, new_portions = validate_with_portions(body)
    if with_barcode := rows_with_barcode(device, values["barcode"]):
        if body.get("id") in device.service.used_ids("products"):
            raise Refused(409, conflict=None)  # both are taken: the service may name either
        raise barcode_taken(with_barcode)
    taken = {body.get("id")} & set(device.service.used_ids("products")) or taken_ids(device, new_portions)
    if taken:
        raise id_taken(*taken)
    row = device.add("products", values)
    claims = [number for number, portion in enumerate(new_portions) if portion["is_default"]]
    for number, portion in enumerate(new_portions or [{"name": "100g", "grams": Decimal(100)}]):
        is_default = number == (claims[-1] if claims else 0)
        device.add("portions", portion | {"product_id": row["id"], "is_default": is_default})
    device.commit()
    return Response(201, represent(row))


def validate_with_portions(body: dict) -> tuple[dict, list[dict]]:
    """Return the values of a new product and of its portions."""
    values, new_portions, errors = {}, [], set()
    try:
        values = DEFAULTS | validate_new(body, FIELDS, REQUIRED)
    except Refused as refused:
        errors |= refused.locs
    for number, portion in enumerate(body.get("portions", [])):
        try:
            checked = validate_new(portion, portions.FIELDS, portions.REQUIRED)
        except Refused as refused:
            errors |= {("portions", number, *loc) for loc in refused.locs}
        else:
            new_portions.append({"is_default": False} | checked)
    if errors:
        raise invalid(*errors)
    return values, new_portions


def taken_ids(device: Device, new_portions: list[dict]) -> set[str]:
    """Return the ids that are taken, or that several of the portions have."""
    ids = [portion["id"] for portion in new_portions if "id" in portion]
    return {one for one in ids if ids.count(one) > 1} | set(ids) & set(device.service.used_ids("portions"))


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
        rows = [row for row in rows if all(has_word(row, word) for word in words)]
    if "favorite" in query:
        rows = [row for row in rows if row["is_favorite"] == (query["favorite"] == "true")]
    if "barcode" in query:
        same = rows_with_barcode(device, query["barcode"])
        rows = [row for row in rows if row in same]
    return page(rows, query, represent)


def has_word(row: Row, word: str) -> bool:
    return word in fold(row["name"]) or word in fold(row["brand"] or "")
