"""The model of /v1/food-entries. An entry has a weight, or a quantity of a portion, and a copy of product values."""

from datetime import date, timedelta
from decimal import Decimal

from tests.contract.model import (
    Device,
    Refused,
    Response,
    Row,
    id_taken,
    invalid,
    page,
    page_of,
    validate,
    validate_new,
)
from tests.contract.values import MEAL_TYPES, amount, day, meal_type, nullable, round_half_up, time_of_day

FIELDS = {
    "quantity": nullable(amount("0.01", 1000)),
    "grams": nullable(amount("0.01", 100_000)),
    "date": day,
    "time": nullable(time_of_day),
    "meal_type": meal_type,
}
REQUIRED = ("date",)
PER_100G = {
    "kcal": "kcal_100g",
    "protein": "protein_100g",
    "carbs": "carbs_100g",
    "fat": "fat_100g",
    "sugars": "sugars_100g",
    "saturated_fat": "saturated_fat_100g",
    "fiber": "fiber_100g",
    "salt": "salt_100g",
}
NUTRIENTS = tuple(PER_100G)[1:]
NO_PORTION = {"portion_id": None, "portion_name": None, "portion_grams": None}
MOST_DAYS = 366  # of a summary
MOST_MEALS = 20  # of a day


def read(device: Device, entry_id) -> Response:
    return Response(200, device.get("food_entries", entry_id).to_json())


def create(device: Device, body: dict) -> Response:
    status, (row,) = log(device, [body], [()])
    return Response(status, row.to_json())


def create_batch(device: Device, bodies: list[dict]) -> Response:
    status, rows = log(device, bodies, [(index,) for index in range(len(bodies))])
    return Response(status, [row.to_json() for row in rows])


def log(device: Device, bodies: list[dict], locs: list[tuple]) -> tuple[int, list[Row]]:
    """Add all entries or none. `locs` has the place of each entry in the body. An entry with a known id is a retry."""
    drafts, new_ids, errors = {}, set(), []
    for index, (body, loc) in enumerate(zip(bodies, locs, strict=True)):
        if device.find("food_entries", body.get("id")) or body.get("id") in new_ids:
            continue
        try:
            drafts[index] = draft(device, body)
        except Refused as refused:
            errors += [loc + of_field for of_field in refused.locs]
        else:
            new_ids |= {body["id"]} if "id" in body else set()
    if errors:
        raise invalid(*errors)
    if taken := new_ids & set(device.service.used_ids("food_entries")):
        raise id_taken(*taken)
    added = {index: device.add("food_entries", *values_and_per_100g) for index, values_and_per_100g in drafts.items()}
    device.commit()
    rows = [added.get(index) or device.get("food_entries", body["id"]) for index, body in enumerate(bodies)]
    return 201 if added else 200, rows


def draft(device: Device, body: dict) -> tuple[dict, dict]:
    """Return the values of a new entry, and the values per 100 g that it copies from its product."""
    values, food = validate_entry(device, body)
    product, portion = food["product_id"], food["portion_id"]
    weight = weigh(product["id"], portion, values.get("quantity"), values.get("grams"))
    return copy_product({"time": None, "meal_type": "snacks"} | values | weight, product)


def validate_entry(device: Device, body: dict, row: Row | None = None) -> tuple[dict, dict[str, Row | None]]:
    """Return the sent values, and the product and the portion, as far as they differ from the entry's."""
    values, food, errors = {}, {}, set()
    try:
        values = validate(body, FIELDS) if row else validate_new(body, FIELDS, REQUIRED)
    except Refused as refused:
        errors |= refused.locs
    for column, table in (("product_id", "products"), ("portion_id", "portions")):
        if row and body.get(column, row[column]) == row[column]:
            continue
        if body.get(column) is None and column == "portion_id":
            food[column] = None
            continue
        try:
            food[column] = device.get(table, body.get(column))
        except Refused:
            errors.add((column,))
    if errors:
        raise invalid(*errors)
    return {name: value for name, value in values.items() if row is None or value != row[name]}, food


def copy_product(values: dict, product: Row) -> tuple[dict, dict]:
    """Return an entry's values with those of its product, and the values per 100 g that it copies."""
    per_100g = {name: product[name] for name in PER_100G.values()}
    copied = {"product_id": product["id"], "product_name": product["name"], "unit": product["unit"]}
    return with_totals(values | copied, per_100g), per_100g


def with_totals(values: dict, per_100g: dict) -> dict:
    """Return an entry's values with the energy and the nutrients of its weight."""
    totals = {
        total: None if per_100g[name] is None else round_half_up(per_100g[name] * values["grams"] / 100)
        for total, name in PER_100G.items()
    }
    return values | totals


def weigh(product_id: str, portion: Row | None, quantity, grams) -> dict:
    """Return the portion, the quantity and the grams of an entry of this product."""
    if portion is None:
        if quantity is not None:
            raise invalid(("quantity",))
        if grams is None:
            raise invalid(("grams",))
        return {**NO_PORTION, "quantity": None, "grams": grams}
    if portion["product_id"] != product_id:
        raise invalid(("portion_id",))
    quantity = Decimal(1) if quantity is None else quantity
    copied = {"portion_id": portion["id"], "portion_name": portion["name"], "portion_grams": portion["grams"]}
    return copied | count(portion["grams"] * quantity, quantity, grams)


def count(weight: Decimal, quantity: Decimal, grams) -> dict:
    """Return the quantity and the grams of an entry with a portion. Such an entry must not be sent with grams."""
    if grams is not None:
        raise invalid(("grams",))
    if not Decimal("0.01") <= round_half_up(weight) <= 100_000:
        raise invalid(("quantity",))
    return {"quantity": quantity, "grams": round_half_up(weight)}


def change(device: Device, entry_id, body: dict) -> Response:
    row = device.get("food_entries", entry_id)
    values, food = validate_entry(device, body, row)
    product, portion = food.get("product_id"), food.get("portion_id")
    quantity, grams = values.pop("quantity", None), values.pop("grams", None)
    product_id = product["id"] if product else row["product_id"]
    if portion is not None:
        values |= weigh(product_id, portion, row["quantity"] if quantity is None else quantity, grams)
    elif product is not None or "portion_id" in food or row["portion_id"] is None:  # by weight from now on
        values |= weigh(product_id, None, quantity, row["grams"] if grams is None else grams)
    elif quantity is not None:
        values |= count(row["portion_grams"] * quantity, quantity, grams)
    elif grams is not None:
        values |= weigh(product_id, None, None, grams)
    changed = row.values | values
    if product is not None:
        changed, row.per_100g = copy_product(changed, product)
    device.change(row, with_totals(changed, row.per_100g))
    device.commit()
    return Response(200, row.to_json())


def delete(device: Device, entry_id) -> Response:
    return device.delete(device.get("food_entries", entry_id))


def restore(device: Device, entry_id) -> Response:
    row = device.get_deleted_or_live("food_entries", entry_id)
    if row.deleted:
        device.restore(row)
    return Response(200, row.to_json())


def list_all(device: Device, query: dict) -> Response:
    page_of(query)  # its errors have precedence
    first, last = query.get("from", "0001-01-01"), query.get("to", "9999-12-31")
    if last < first:
        raise invalid(("to",))
    rows = [row for row in device.rows("food_entries") if first <= row["date"] <= last]
    if "date" in query:
        rows = [row for row in rows if row["date"] == query["date"]]
    if "meal_type" in query:
        rows = [row for row in rows if row["meal_type"] == meal_type(query["meal_type"])]
    rows.sort(key=lambda row: (row["time"] is None, row["time"], row["created_at"], row["id"]))
    rows.sort(key=lambda row: row["date"], reverse=True)
    return page(rows, query, Row.to_json)


def summarise(device: Device, first: str, last: str) -> Response:
    start, days = date.fromisoformat(first), (date.fromisoformat(last) - date.fromisoformat(first)).days + 1
    if not 1 <= days <= MOST_DAYS:
        raise invalid(("to",))
    return Response(200, [summarise_day(device, str(start + timedelta(days=number))) for number in range(days)])


def summarise_day(device: Device, day: str) -> dict:
    rows = device.rows("food_entries", date=day)
    by_meal = {name: [] for name in limit_meals({row["meal_type"] for row in rows})}
    for row in rows:
        by_meal.get(row["meal_type"], by_meal.get("other")).append(row)
    incomplete = [name for name in NUTRIENTS if any(row[name] is None for row in rows)]
    meals = {meal: add_up(eaten) for meal, eaten in by_meal.items()}
    return {"date": day, **add_up(rows), "incomplete": incomplete, "meals": meals}


def limit_meals(names: set[str]) -> list[str]:
    """Return the meals that a summary lists. `other` has the entries of all meals that it doesn't list."""
    if len(names) <= MOST_MEALS:
        return list(names)
    usual = [name for name in MEAL_TYPES if name in names]
    return [*usual, *sorted(names - {*MEAL_TYPES, "other"})[: MOST_MEALS - len(usual)], "other"]


def add_up(rows: list[Row]) -> dict:
    """Return the sums of entries; an unknown value counts as 0."""
    return {"entries": len(rows)} | {total: float(sum(row[total] or 0 for row in rows)) for total in PER_100G}
