"""The limit for searches: a bare WSGI function that sends the same SQL as the service, and returns the same foods.

The statements of each text were recorded: it splits no text into words and looks for no typing errors. It runs under
the same gunicorn, on PostgreSQL or SQLite.
"""

import os
import sqlite3
import threading
from pathlib import Path
from urllib.parse import parse_qs
from uuid import UUID

import orjson

from benchmarks import peer_raw

RECORDED = orjson.loads(Path(os.environ["RECORDED_SEARCHES"]).read_bytes())["recorded"]
OPTIONS = orjson.OPT_UTC_Z
NUTRIENTS = peer_raw.PER_100G[1:]
# In the order of the statement's columns.
COLUMNS = (
    *("id", "name", "brand", "lang", "barcode", "unit", "kcal_100g", *NUTRIENTS),
    *("source", "source_id", "tier", "updated_at"),
)
SOURCES = {
    "usda": {
        "source": "usda",
        "license": "CC0-1.0",
        "attribution": "U.S. Department of Agriculture, Agricultural Research Service. FoodData Central.",
        "url": "https://fdc.nal.usda.gov",
    },
    "off": {
        "source": "off",
        "license": "ODbL-1.0",
        "attribution": "Contains information from Open Food Facts, made available under the Open Database License "
        "(ODbL).",
        "url": "https://world.openfoodfacts.org/product/",
    },
}
IS_SQLITE = peer_raw.DATABASE_URL.startswith("sqlite")
local = threading.local()


def fetched_from_sqlite(query: str, *values) -> list[tuple]:
    if not hasattr(local, "connection"):
        local.connection = sqlite3.connect(peer_raw.DATABASE_URL.removeprefix("sqlite:///"), cached_statements=256)
        local.connection.execute("PRAGMA query_only = on")
    values = [value.hex if isinstance(value, UUID) else value for value in values]
    return local.connection.execute(query.replace("%s", "?"), values).fetchall()


if IS_SQLITE:
    peer_raw.fetched = fetched_from_sqlite


def application(environ, start_response):
    if environ["PATH_INFO"] == "/healthz":
        content = b"{}"
    else:
        peer_raw.caller(environ)
        (text,) = parse_qs(environ["QUERY_STRING"])["search"]
        content = orjson.dumps(foods(RECORDED[text]), default=str, option=OPTIONS)
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(content)))]
    start_response("200 OK", headers)
    return [content]


def foods(recorded: dict) -> list[dict]:
    for sql, params in recorded["searching"]:
        peer_raw.fetched(sql, *params)
    if not recorded["ids"]:
        return []
    rows, portions = (peer_raw.fetched(sql, *params) for sql, params in recorded["loading"])
    found = {id_of(row[0]): food(row) for row in rows}
    for food_id, name, grams in portions:
        own = found[id_of(food_id)]["portions"]
        own.append({"name": name, "grams": float(grams), "is_default": not own})
    return [found[food_id] for food_id in recorded["ids"]]


def id_of(value: UUID | str) -> str:
    return str(value if isinstance(value, UUID) else UUID(value))


def food(row: tuple) -> dict:
    values = dict(zip(COLUMNS, row, strict=True))
    source, tier, updated_at = SOURCES[values["source"]], values.pop("tier"), values.pop("updated_at")
    has_pages = values["source"] == "off"
    return {
        **values,
        "id": id_of(values["id"]),
        "portions": [],
        **{key: source[key] for key in ("source", "license", "attribution")},
        "source_url": f"{source['url']}{values['source_id']}" if has_pages else source["url"],
        "withdrawn": tier is None,
        "updated_at": f"{updated_at.replace(' ', 'T')}Z" if IS_SQLITE else updated_at,
    }
