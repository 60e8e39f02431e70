"""The model of /v1/products/{id}/portions and /v1/portions. Each product has exactly one default portion."""

from tests.contract.model import Device, Refused, Response, Row, page, page_of, validate, validate_new
from tests.contract.values import amount, boolean, fold, name

FIELDS = {"name": name, "grams": amount("0.01", 10_000), "is_default": boolean}
REQUIRED = ("name", "grams")


def of_product(device: Device, product_id) -> list[Row]:
    """Return the portions of a product, the default first."""
    rows = device.rows("portions", product_id=product_id)
    return sorted(rows, key=lambda row: (not row["is_default"], fold(row["name"]), str(row["id"])))


def read(device: Device, portion_id) -> Response:
    return Response(200, device.get("portions", portion_id).to_json())


def list_all(device: Device, product_id, query: dict) -> Response:
    page_of(query)  # a 422 comes before a 404
    device.get("products", product_id)
    return page(of_product(device, product_id), query, Row.to_json)


def create(device: Device, product_id, body: dict) -> Response:
    device.get("products", product_id)
    if retry := device.find("portions", body.get("id")):
        return Response(200, retry.to_json())
    values = {"product_id": product_id, "is_default": False} | validate_new(body, FIELDS, REQUIRED)
    row = device.add("portions", values)
    leave_one_default(device, row)
    device.commit()
    return Response(201, row.to_json())


def leave_one_default(device: Device, row: Row) -> None:
    """If this portion is the default, make the previous default an ordinary portion."""
    if row["is_default"]:
        for other in device.rows("portions", product_id=row["product_id"], is_default=True):
            if other is not row:
                device.change(other, {"is_default": False})


def change(device: Device, portion_id, body: dict) -> Response:
    row = device.get("portions", portion_id)
    values = validate(body, FIELDS)
    if row["is_default"] and not values.get("is_default", True):
        raise Refused(409)
    device.change(row, values)
    leave_one_default(device, row)
    device.commit()
    return Response(200, row.to_json())


def delete(device: Device, portion_id) -> Response:
    row = device.get("portions", portion_id)
    others = [other for other in device.rows("portions", product_id=row["product_id"]) if other is not row]
    if not others:
        raise Refused(409)
    if row["is_default"]:
        oldest = min(others, key=lambda other: (other["created_at"], other["id"]))
        device.change(oldest, {"is_default": True})
    return device.delete(row)


def restore(device: Device, portion_id) -> Response:
    """Restore a portion of a live product. It does not become the default."""
    row = device.get_deleted_or_live("portions", portion_id)
    if row.deleted:
        if device.find("products", row["product_id"]) is None:
            raise Refused(409)
        row.stored["is_default"] = False
        device.restore(row)
    return Response(200, row.to_json())
