"""The limit for `make bench`: the same calls as one bare WSGI function with psycopg and orjson, without a framework.

It runs under the same gunicorn, sends the same queries as CountOnMe, as prepared statements over one connection per
thread, and returns the same bodies. It validates almost nothing, so it is not a usable service.
"""

import hmac
import os
import secrets
import threading
import uuid
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from hashlib import blake2b
from urllib.parse import parse_qs

import bcrypt
import orjson
import psycopg
from psycopg.types.numeric import FloatLoader

DATABASE_URL = os.environ["DATABASE_URL"]
SECRET_KEY = os.environ["SECRET_KEY"].encode()
ROUNDS = int(os.environ.get("BCRYPT_ROUNDS", "4"))

NUTRIENTS = ("protein", "carbs", "fat", "sugars", "saturated_fat", "fiber", "salt")
TOTALS = ("kcal", *NUTRIENTS)
PER_100G = tuple(f"{name}_100g" for name in TOTALS)
PRODUCT = (
    *("id", "name", "brand", *PER_100G, "unit", "barcode", "is_favorite", "catalog_food_id"),
    *("created_at", "updated_at"),
)
PORTION = ("id", "product_id", "name", "grams", "is_default", "created_at", "updated_at")
ENTRY = (
    *("id", "product_id", "portion_id", "quantity", "grams", "date", "time", "meal_type"),
    *("portion_name", "portion_grams", "product_name", "unit"),
    *TOTALS,
    *("created_at", "updated_at"),
)

DEVICE_ROW = """SELECT token_hash, next_token_hash, revision, purged_through, created_at, last_seen_at, deleted_at
    FROM devices WHERE id = %s"""
PRODUCT_ROW = f"SELECT {', '.join(PRODUCT)} FROM products WHERE device_id = %s AND deleted_at IS NULL AND id = %s"
PRODUCT_LIST = f"""SELECT {", ".join(PRODUCT)} FROM products WHERE device_id = %s AND deleted_at IS NULL
    ORDER BY name_key, id LIMIT %s OFFSET %s"""
PORTIONS_OF_ONE, PORTIONS = (
    f"""SELECT {", ".join(PORTION)} FROM portions WHERE device_id = %s AND deleted_at IS NULL AND product_id = {named}
    ORDER BY product_id, is_default DESC, name_key, id"""
    for named in ("%s", "ANY(%s)")
)
DAY = f"""SELECT {", ".join(ENTRY)} FROM food_entries WHERE device_id = %s AND deleted_at IS NULL AND date = %s
    ORDER BY date DESC, time, created_at, id LIMIT 51"""
UNKNOWN = (f"CASE WHEN count({name}) < count(*) THEN {1 << place} ELSE 0 END" for place, name in enumerate(NUTRIENTS))
SUMS = f"""SELECT date, meal_type, {" + ".join(UNKNOWN)}, count(*),
    {", ".join(f"coalesce(sum({name}), 0.0)" for name in TOTALS)} FROM food_entries
    WHERE device_id = %s AND deleted_at IS NULL AND date >= %s AND date <= %s
    GROUP BY date, meal_type ORDER BY date, meal_type"""
NEXT_REVISION = "UPDATE devices SET revision = revision + 1 WHERE id = %s AND deleted_at IS NULL RETURNING revision"
KEPT_OF_PRODUCT = f"""SELECT name, unit, {", ".join(PER_100G)} FROM products
    WHERE device_id = %s AND deleted_at IS NULL AND id = %s"""
INSERT_ENTRY = f"""INSERT INTO food_entries (id, device_id, revision, created_at, updated_at, deleted_at, product_id,
    portion_id, quantity, grams, date, time, meal_type, portion_name, portion_grams, product_name, unit,
    {", ".join(PER_100G + TOTALS)}) VALUES ({", ".join(["%s"] * 33)})"""
INSERT_PRODUCT = f"""INSERT INTO products (id, device_id, revision, created_at, updated_at, deleted_at, name_key,
    brand_key, name, brand, {", ".join(PER_100G)}, unit, barcode, is_favorite, catalog_food_id)
    VALUES ({", ".join(["%s"] * 22)})"""
INSERT_PORTION = f"""INSERT INTO portions (id, device_id, revision, created_at, updated_at, deleted_at, product_id,
    name, name_key, grams, is_default) VALUES ({", ".join(["%s"] * 11)})"""
INSERT_DEVICE = """INSERT INTO devices (id, token_hash, next_token_hash, revision, purged_through, created_at,
    last_seen_at, deleted_at) VALUES (%s, %s, NULL, 1, 0, %s, %s, NULL) ON CONFLICT DO NOTHING"""

HUNDREDTH = Decimal("0.01")
OPTIONS = orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS
REASONS = {200: "200 OK", 201: "201 Created", 304: "304 Not Modified", 401: "401 Unauthorized", 404: "404 Not Found"}

verdicts: dict[bytes, bool] = {}
local = threading.local()


class Refused(Exception):
    def __init__(self, status: int):
        self.status = status


def connection() -> psycopg.Connection:
    if not hasattr(local, "connection"):
        local.connection = psycopg.connect(
            DATABASE_URL, autocommit=True, prepare_threshold=0, options="-c timezone=UTC"
        )
        local.connection.adapters.register_loader("numeric", FloatLoader)
    return local.connection


def fetched(query: str, *values) -> list[tuple]:
    return connection().cursor().execute(query, values).fetchall()


def run(query: str, *values) -> None:
    connection().cursor().execute(query, values)


def application(environ, start_response):
    try:
        status, body, headers = respond(environ)
    except Refused as refusal:
        status, body, headers = refusal.status, {"detail": REASONS[refusal.status]}, []
    content = b"" if body is None else orjson.dumps(body, default=_number, option=OPTIONS)
    headers.append(("X-Request-ID", uuid.uuid4().hex))
    if status != 304:
        headers += [("Content-Type", "application/json"), ("Content-Length", str(len(content)))]
    start_response(REASONS[status], headers)
    return [content]


def respond(environ) -> tuple[int, object, list]:
    path, method = environ["PATH_INFO"], environ["REQUEST_METHOD"]
    if path == "/healthz":
        return 200, {"status": "ok"}, []
    if path == "/v1/auth/register":
        return register(sent(environ))
    device_id, revision = caller(environ)
    if method == "POST":
        create = create_product if path == "/v1/products" else create_entry
        return 201, create(device_id, sent(environ)), []
    headers, known = validators(environ, device_id, revision)
    if known:
        return 304, None, headers
    query = {name: values[-1] for name, values in parse_qs(environ["QUERY_STRING"]).items()}
    if path == "/v1/products":
        return 200, product_list(device_id, query, headers, environ), headers
    if path == "/v1/food-entries":
        return 200, day(device_id, query), headers
    if path == "/v1/food-entries/summary":
        return 200, summary(device_id, query), headers
    return 200, product(device_id, uuid.UUID(path.rpartition("/")[2])), headers


def sent(environ) -> dict:
    return orjson.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))


def caller(environ) -> tuple[uuid.UUID, int]:
    scheme, _, token = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
    name, _, secret = token.partition(".")
    device_id = uuid.UUID(name)
    rows = fetched(DEVICE_ROW, device_id)
    if scheme != "Bearer" or not rows or rows[0][6] is not None:
        raise Refused(401)
    token_hash, revision = rows[0][0], rows[0][2]
    verdict = hmac.digest(SECRET_KEY, f"{token}{token_hash}".encode(), "sha256")
    if verdict not in verdicts:
        if not bcrypt.checkpw(secret.encode(), token_hash.encode()):
            raise Refused(401)
        verdicts[verdict] = True
    return device_id, revision


def validators(environ, device_id: uuid.UUID, revision: int) -> tuple[list, bool]:
    named = f"1 {device_id} {revision} {address(environ)}"
    etag = f'W/"{blake2b(named.encode(), digest_size=16).hexdigest()}"'
    headers = [("ETag", etag), ("Cache-Control", "private, no-cache"), ("Vary", "Authorization")]
    return headers, environ.get("HTTP_IF_NONE_MATCH") == etag


def address(environ) -> str:
    return f"http://{environ['HTTP_HOST']}{environ['PATH_INFO']}?{environ['QUERY_STRING']}"


def product_list(device_id: uuid.UUID, query: dict, headers: list, environ) -> list[dict]:
    limit, offset = int(query.get("limit", 50)), int(query.get("offset", 0))
    rows = [dict(zip(PRODUCT, row, strict=True)) for row in fetched(PRODUCT_LIST, device_id, limit + 1, offset)]
    if len(rows) > limit:
        headers.append(("Link", f'<{address(environ)}&offset={offset + limit}>; rel="next"'))
        rows.pop()
    return with_portions(device_id, rows)


def product(device_id: uuid.UUID, product_id: uuid.UUID) -> dict:
    rows = fetched(PRODUCT_ROW, device_id, product_id)
    if not rows:
        raise Refused(404)
    return with_portions(device_id, [dict(zip(PRODUCT, rows[0], strict=True))])[0]


def with_portions(device_id: uuid.UUID, rows: list[dict]) -> list[dict]:
    of_product = {row["id"]: row.setdefault("portions", []) for row in rows}
    query, named = (PORTIONS_OF_ONE, *of_product) if len(of_product) == 1 else (PORTIONS, list(of_product))
    for portion in fetched(query, device_id, named):
        of_product[portion[1]].append(dict(zip(PORTION, portion, strict=True)))
    return rows


def day(device_id: uuid.UUID, query: dict) -> list[dict]:
    rows = fetched(DAY, device_id, date.fromisoformat(query["date"]))
    return [dict(zip(ENTRY, row, strict=True)) for row in rows]


def summary(device_id: uuid.UUID, query: dict) -> list[dict]:
    first, last = date.fromisoformat(query["from"]), date.fromisoformat(query["to"])
    days = [empty_day(first + timedelta(days=n)) for n in range((last - first).days + 1)]
    for day_of, meal, unknown, entries, *sums in fetched(SUMS, device_id, first, last):
        whole = days[(day_of - first).days]
        amounts = dict(zip(TOTALS, sums, strict=True))
        lacking = (name for place, name in enumerate(NUTRIENTS) if unknown >> place & 1)
        whole["incomplete"] += [name for name in lacking if name not in whole["incomplete"]]
        whole["meals"][meal] = {"entries": entries, **amounts}
        whole["entries"] += entries
        for name, amount in amounts.items():
            whole[name] = round((whole[name] + amount) * 100) / 100
    return days


def empty_day(day_of: date) -> dict:
    return {"date": day_of, "entries": 0, **dict.fromkeys(TOTALS, 0.0), "incomplete": [], "meals": {}}


def create_entry(device_id: uuid.UUID, body: dict) -> dict:
    entry_id, product_id = uuid.uuid4(), uuid.UUID(body["product_id"])
    grams, eaten_on, now = amount(body["grams"]), date.fromisoformat(body["date"]), datetime.now(UTC)
    meal = body.get("meal_type", "snacks")
    with connection().transaction():
        ((revision,),) = fetched(NEXT_REVISION, device_id)
        ((name, unit, *per_100g),) = fetched(KEPT_OF_PRODUCT, device_id, product_id)
        per_100g = [amount(value) for value in per_100g]
        totals = [None if value is None else rounded(value * grams / 100) for value in per_100g]
        entry = (product_id, None, None, grams, eaten_on, None, meal, None, None, name, unit)
        run(INSERT_ENTRY, entry_id, device_id, revision, now, None, None, *entry, *per_100g, *totals)
    return dict(zip(ENTRY, (entry_id, *entry, *totals, now, None), strict=True))


def create_product(device_id: uuid.UUID, body: dict) -> dict:
    product_id, portion_id, name, now = uuid.uuid4(), uuid.uuid4(), body["name"].strip(), datetime.now(UTC)
    brand = body.get("brand")
    nutrients = [amount(body.get(key)) for key in PER_100G[1:]]
    values = (name, brand, body["kcal_100g"], *nutrients, "g", body.get("barcode"), False, None)
    keys = (name.casefold(), brand and brand.casefold())
    later, grams = now + timedelta(microseconds=1), Decimal(100)
    with connection().transaction():
        ((revision,),) = fetched(NEXT_REVISION, device_id)
        run(INSERT_PRODUCT, product_id, device_id, revision, now, None, None, *keys, *values)
        stamp = (device_id, revision, later, None, None)
        run(INSERT_PORTION, portion_id, *stamp, product_id, "100g", "100g", grams, True)
    portion = dict(zip(PORTION, (portion_id, product_id, "100g", grams, True, later, None), strict=True))
    return dict(zip(PRODUCT, (product_id, *values, now, None), strict=True)) | {"portions": [portion]}


def register(body: dict) -> tuple[int, dict, list]:
    device_id, secret, now = uuid.UUID(body["device_id"]), secrets.token_urlsafe(32), datetime.now(UTC)
    secret_hash = bcrypt.hashpw(secret.encode(), bcrypt.gensalt(ROUNDS)).decode()
    run(INSERT_DEVICE, device_id, secret_hash, now, now)
    return 200, {"token": f"{device_id}.{secret}"}, []


def amount(value: float | None) -> Decimal | None:
    return None if value is None else rounded(Decimal(str(value)))


def rounded(value: Decimal) -> Decimal:
    return value.quantize(HUNDREDTH, rounding=ROUND_HALF_UP)


def _number(value) -> float:
    if isinstance(value, Decimal):
        return float(value)
    raise TypeError(f"{type(value).__name__} is not JSON")
