"""What sync costs beside the same rows through REST, one by one: `python -m benchmarks.sync`.

A diary of five years is pushed and pulled whole; then a pull with nothing new, and 1,500 new entries. Seconds are
medians of reads to a service that does nothing else; what writes is timed once.
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
        """Return the answer's body and its ETag."""
        response = self.send(method, path, body, headers)
        if response.status_code >= 400:
            raise SystemExit(f"{method} {path}: {response}")
        return response.content, response.headers.get("ETag") or ""


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what is started is stopped
    with create_databases(DATABASE):
        migrate(url_of(DATABASE))
        server = our_server(url_of(DATABASE))
        with run_servers(server):
            phone = MeasuringPhone(server.port, timeout=600)
            phone.register()
            rows = measured(phone)
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


def measured(phone: MeasuringPhone) -> list[tuple]:
    """Return for each measurement its name, seconds, and bytes, raw and compressed."""
    made = diary()
    first = made["products"]["created"][0]
    rows = [timed("push five years", lambda: phone.fetch("POST", "/v1/sync?last_pulled_at=1", made), 1)]
    rows.append(timed("first sync of five years", lambda: phone.fetch("GET", "/v1/sync")))
    rows.append(timed("the same through REST, pages of 200", lambda: through_rest(phone)))
    body, _ = phone.fetch("GET", "/v1/sync")
    path = f"/v1/sync?last_pulled_at={json.loads(body)['timestamp']}"
    rows.append(timed("pull with nothing new", lambda: phone.fetch("GET", path)))
    _, etag = phone.fetch("GET", path)
    rows.append(timed("the same with If-None-Match", lambda: phone.fetch("GET", path, **{"If-None-Match": etag})))
    new = {"food_entries": {"created": [entry(first, n) for n in range(NEW)]}}
    rows.append(timed(f"push {NEW:,} entries", lambda: phone.fetch("POST", path, new), 1))
    singles = [entry(first, n) for n in range(NEW)]
    one_by_one = timed(
        "the same through REST, one by one",
        lambda: (b"".join(phone.fetch("POST", "/v1/food-entries", one)[0] for one in singles), ""),
        1,
    )
    return [*rows, one_by_one]


def through_rest(phone: MeasuringPhone) -> tuple[bytes, str]:
    pages = [f"/v1/products?limit=200&offset={start}" for start in range(0, PRODUCTS, 200)]
    pages += [f"/v1/food-entries?limit=200&offset={start}" for start in range(0, ENTRIES, 200)]
    return b"".join(phone.fetch("GET", page)[0] for page in pages), ""


def timed(name: str, call, times: int = TIMES) -> tuple:
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
        f"{ENTRIES:,} entries. Bytes are the answers', raw and compressed.",
        "",
        "| | seconds | bytes | compressed |",
        "|---|--:|--:|--:|",
        *(f"| {name} | {seconds:.4f} | {size:,} | {small:,} |" for name, seconds, size, small in rows),
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
