"""The calls that the benchmarks measure. Each has requests of many devices, which are sent in turn."""

import itertools
import json
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta

from benchmarks.data import DAYS, FIRST_DAY, LAST_DAY, MANY_PRODUCTS, Data, Device
from tests.harness.servers import Server

NEW_PRODUCT = {
    "name": "Rye bread",
    "brand": "Mill & Oven",
    "kcal_100g": 259,
    "protein_100g": 8.5,
    "carbs_100g": 48.3,
    "fat_100g": 3.3,
    "sugars_100g": 3.9,
    "saturated_fat_100g": 0.6,
    "fiber_100g": 5.8,
    "salt_100g": 1.5,
}


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    token: str = ""
    etag: str = ""
    body: str = ""

    def line(self) -> str:
        return "\t".join((self.method, self.path, self.token, self.etag, self.body))


@dataclass(frozen=True)
class Call:
    name: str
    requests: Callable[[Data], list[Request]]
    status: int = 200
    conditional: bool = False  # with the ETag of a known response; FastAPI has no ETags and sends the response again


@dataclass(frozen=True)
class Response:
    status: int
    body: object
    etag: str


def get(path: str, device: Device) -> Request:
    return Request("GET", path, device.token)


def list_of_50(data: Data) -> list[Request]:
    return [get("/v1/products?limit=50", device) for device in data.listers]


def one_product(data: Data) -> list[Request]:
    return [get(f"/v1/products/{device.product_ids[n]}", device) for n in range(3) for device in data.listers]


def day_entries(data: Data) -> list[Request]:
    return [get(f"/v1/food-entries?date={day}", device) for day in all_days() for device in data.loggers]


def day_summary(data: Data) -> list[Request]:
    path = "/v1/food-entries/summary?from={0}&to={0}"
    return [get(path.format(day), device) for day in all_days() for device in data.loggers]


def month_summary(data: Data) -> list[Request]:
    path = f"/v1/food-entries/summary?from={FIRST_DAY}&to={LAST_DAY}"
    return [get(path, device) for device in data.loggers]


def first_read(data: Data) -> list[Request]:
    return [get(f"/v1/products?limit={MANY_PRODUCTS}", device) for device in data.hoarders]


def new_entry(data: Data) -> list[Request]:
    return [Request("POST", "/v1/food-entries", one.token, body=entry_of(one)) for one in data.writers]


def entry_of(device: Device) -> str:
    entry = {"product_id": str(device.product_ids[0]), "grams": 70, "date": "2026-02-01", "meal_type": "lunch"}
    return json.dumps(entry)


def new_product(data: Data) -> list[Request]:
    return [Request("POST", "/v1/products", device.token, body=json.dumps(NEW_PRODUCT)) for device in data.writers]


def registration(data: Data) -> list[Request]:
    return [Request("POST", "/v1/auth/register", body='{"device_id": "{uuid}"}')]


def all_days() -> list:
    return [FIRST_DAY + timedelta(days=n) for n in range(DAYS)]


CALLS = (
    Call("product list of 50", list_of_50),
    Call("one product", one_product),
    Call("a day's entries", day_entries),
    Call("a day's summary", day_summary),
    Call("a 30-day summary", month_summary),
    Call("create an entry", new_entry, status=201),
    Call("create a product", new_product, status=201),
    Call("304", lambda data: list_of_50(data)[:100], status=304, conditional=True),
    Call("a first read of 200 products", first_read),
    Call("register", registration),
)


def every_token(data: Data) -> list[Request]:
    return [get(f"/v1/products/{device.product_ids[0]}", device) for device in data.devices]


def mixed(data: Data) -> list[Request]:
    """Return requests of all calls in turn, except for registrations and conditional requests."""
    kinds = [itertools.cycle(call.requests(data)) for call in CALLS if not call.conditional and call.name != "register"]
    return [next(kind) for _ in range(1500) for kind in kinds]


def conditional(server: Server, requests: list[Request]) -> list[Request]:
    """Return the requests with the current ETags of their responses, if the server sends ETags."""
    return [replace(request, etag=send(server, request).etag) for request in requests]


def send(server: Server, request: Request) -> Response:
    headers = {"Content-Type": "application/json"}
    if request.token:
        headers["Authorization"] = f"Bearer {request.token}"
    if request.etag:
        headers["If-None-Match"] = request.etag
    http_request = urllib.request.Request(
        server.url + request.path, request.body.encode() or None, headers, method=request.method
    )
    try:
        response = urllib.request.urlopen(http_request, timeout=30)
    except urllib.error.HTTPError as error:
        response = error
    with response:
        content = response.read()
        body = json.loads(content) if content else None
        return Response(response.status, body, response.headers.get("ETag") or "")
