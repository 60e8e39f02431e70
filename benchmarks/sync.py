"""Compare sync with single REST calls for the same rows: `python -m benchmarks.sync`.

A diary of five years is pushed and pulled. Then there is a pull with nothing new, and a push of 1,500 new entries. The
service does nothing else. The seconds of a read are a median; a write is measured once.
"""

import gzip
import json
import signal
import statistics
import sys
import time
from datetime import date, timedelta
from pathlib import Path
from uuid import uuid4

from tests.harness.databases import create_databases, url_of
from tests.harness.machine import describe_machine
from tests.harness.phone import Phone
from tests.harness.servers import migrate, our_server, run_servers, say

RESULTS = Path(__file__).with_name("sync.md")
DATABASE = "bench_sync"
PRODUCTS, PORTIONS, ENTRIES, NEW = 400, 800, 27_000, 1_500
TIMES = 5


class MeasuringPhone(Phone):
    """A phone that returns the content of each response, and expects no error."""

    def fetch(self, method: str, path: str, body=None, **headers) -> tuple[bytes, str]:
        """Return the body and the ETag of the response."""
        response = self.send(method, path, body, headers)
        if response.status_code >= 400:
            raise SystemExit(f"{method} {path}: {response}")
        return response.content, response.headers.get("ETag") or ""


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # exit normally, to stop all processes
    with create_databases(DATABASE):
        migrate(url_of(DATABASE))
        server = our_server(url_of(DATABASE))
        with run_servers(server):
            phone = MeasuringPhone(server.port, timeout=600)
            phone.register()
            rows = measure(phone)
    RESULTS.write_text(page(rows))
    say("Written: benchmarks/sync.md")


def diary() -> dict:
    products = [{"id": str(uuid4()), "name": f"Food {n}", "kcal_100g": 250, "fat_100g": 3.3} for n in range(PRODUCTS)]
    portions = [
        {"id": str(uuid4()), "product_id": products[n % PRODUCTS]["id"], "name": f"P {n}", "grams": 35.5}
        for n in range(PORTIONS)
    ]
    return {
        "products": {"created": products},
        "portions": {"created": portions},
        "food_entries": {"created": [entry(products[n % PRODUCTS], n) for n in range(ENTRIES)]},
    }


def entry(product: dict, number: int) -> dict:
    day = date(2021, 1, 1) + timedelta(days=number * 5 * 365 // ENTRIES)
    return {"id": str(uuid4()), "product_id": product["id"], "date": str(day), "meal_type": "lunch", "grams": 70.5}


def measure(phone: MeasuringPhone) -> list[tuple]:
    """Return the name, the seconds, and the bytes (raw and compressed) of each measurement."""
    dataset = diary()
    first = dataset["products"]["created"][0]
    rows = [time_call("push five years", lambda: phone.fetch("POST", "/v1/sync?last_pulled_at=1", dataset), 1)]
    rows.append(time_call("first sync of five years", lambda: phone.fetch("GET", "/v1/sync")))
    rows.append(time_call("the same through REST, pages of 200", lambda: read_through_rest(phone)))
    body, _ = phone.fetch("GET", "/v1/sync")
    path = f"/v1/sync?last_pulled_at={json.loads(body)['timestamp']}"
    rows.append(time_call("pull with nothing new", lambda: phone.fetch("GET", path)))
    _, etag = phone.fetch("GET", path)
    rows.append(time_call("the same with If-None-Match", lambda: phone.fetch("GET", path, **{"If-None-Match": etag})))
    new = {"food_entries": {"created": [entry(first, n) for n in range(NEW)]}}
    rows.append(time_call(f"push {NEW:,} entries", lambda: phone.fetch("POST", path, new), 1))
    singles = [entry(first, n) for n in range(NEW)]
    one_by_one = time_call(
        "the same through REST, one by one",
        lambda: (b"".join(phone.fetch("POST", "/v1/food-entries", one)[0] for one in singles), ""),
        1,
    )
    return [*rows, one_by_one]


def read_through_rest(phone: MeasuringPhone) -> tuple[bytes, str]:
    pages = [f"/v1/products?limit=200&offset={start}" for start in range(0, PRODUCTS, 200)]
    pages += [f"/v1/food-entries?limit=200&offset={start}" for start in range(0, ENTRIES, 200)]
    return b"".join(phone.fetch("GET", page)[0] for page in pages), ""


def time_call(name: str, call, times: int = TIMES) -> tuple:
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        body, _ = call()
        taken.append(time.perf_counter() - began)
    say(f"{name}: {statistics.median(taken):.4f} s")
    return name, statistics.median(taken), len(body), len(gzip.compress(body, 6))


def page(rows: list[tuple]) -> str:
    lines = [
        "# Sync",
        "",
        f"Made by `python -m benchmarks.sync` on {describe_machine()}: {PRODUCTS} products, {PORTIONS} portions and",
        f"{ENTRIES:,} entries. Bytes are the size of the responses, raw and compressed.",
        "",
        "| | seconds | bytes | compressed |",
        "|---|--:|--:|--:|",
        *(f"| {name} | {seconds:.4f} | {size:,} | {small:,} |" for name, seconds, size, small in rows),
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
