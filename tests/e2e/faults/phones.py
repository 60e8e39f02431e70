"""Phones that write, and retry until they get a response. Each keeps a journal of its acknowledged writes."""

import hashlib
import random
import time
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import date, timedelta
from itertools import count
from uuid import uuid4

from tests.harness.phone import NoResponse, Phone

RETRY_SECONDS = 60  # seconds for which a phone retries a request
BATCH = 10
ERASED = 0.15  # the probability that a phone erases its device after a write
BEFORE = 8  # writes of a device before it may be erased


class Broken(Exception):
    """A response that is only possible if an acknowledged write was lost."""


@dataclass
class Journal:
    """The acknowledged writes of a device."""

    live: dict[str, dict[str, dict]] = field(default_factory=lambda: defaultdict(dict))
    deleted: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    together: list[list[str]] = field(default_factory=list)  # ids of the rows of each write of several rows
    answered: int = 0
    again: int = 0  # responses that took more than one attempt
    changes: int = 0  # writes that changed something: each increases the device's revision by one

    def add(self, table: str, row: dict) -> None:
        self.live[table][row["id"]] = row
        if row.get("is_default"):
            for other in self.live["portions"].values():
                other["is_default"] &= other["product_id"] != row["product_id"] or other is row

    def delete(self, table: str, row_id: str) -> None:
        del self.live[table][row_id]
        self.deleted[table].add(row_id)
        if table == "products":
            for portion in [one for one, row in self.live["portions"].items() if row["product_id"] == row_id]:
                self.delete("portions", portion)


@dataclass(frozen=True)
class Erased:
    """A device whose erasure was acknowledged. No row of its journal may still be stored."""

    device_id: str
    erasure_id: str
    journal: Journal
    by_receipt: bool  # the receipt confirmed the erasure, because the response was lost

    @property
    def device_hash(self) -> str:
        return hashlib.sha256(self.device_id.encode()).hexdigest()

    @property
    def row_ids(self) -> set[str]:
        tables = (*self.journal.live.values(), *self.journal.deleted.values())
        return {row_id for rows in tables for row_id in rows}


class JournalingPhone(Phone):
    """A phone that writes, and keeps a journal of its acknowledged writes."""

    unavailable = range(500, 600)  # after a 500, it is unknown whether the request was carried out
    retry_seconds = RETRY_SECONDS

    def __init__(self, port: int, seed: int, *, erases: bool):
        super().__init__(port, timeout=15)
        self.chance, self.journal, self.erases = random.Random(seed), Journal(), erases
        self.since, self.numbers = 1, count(1)
        self.erased: list[Erased] = []

    def run(self, until: float) -> None:
        writes = [
            self.create_product,
            self.create_portion,
            self.edit,
            self.move_default,
            self.delete_product,
            self.push,
        ]
        writes += [self.eat, self.eat_many, self.weigh, self.delete_entry, self.delete_and_restore]
        while time.monotonic() < until:
            self.chance.choice(writes)()
            if self.erases and self.journal.changes >= BEFORE and self.chance.random() < ERASED:
                self.erase()

    # --- writes ------------------------------------------------------------------------------------

    def register(self) -> None:
        """Register with new ids until there is a response. An id without a response may be registered already."""
        while not self.token:
            self.device_id = str(uuid4())
            try:
                super().register()
            except NoResponse:
                time.sleep(0.1)

    def create_product(self) -> None:
        row = {"id": str(uuid4()), "name": f"Food {next(self.numbers)}", "kcal_100g": 100}
        stored = self.write("POST", "/v1/products", row)
        (portion,) = stored["portions"]
        self.journal.add("products", row)
        self.journal.add("portions", {name: portion[name] for name in ("id", "product_id", "grams", "is_default")})
        self.journal.together.append([row["id"], portion["id"]])

    def create_portion(self) -> None:
        if product := self.one_of("products"):
            row = {"id": str(uuid4()), "name": "Slice", "grams": 35.5, "is_default": self.chance.random() < 0.5}
            self.write("POST", f"/v1/products/{product['id']}/portions", row)
            self.journal.add("portions", row | {"product_id": product["id"]})

    def eat(self) -> None:
        if entry := self.entry():
            self.write("POST", "/v1/food-entries", entry)
            self.journal.add("food_entries", entry)

    def eat_many(self) -> None:
        if entries := [entry for _ in range(BATCH) if (entry := self.entry())]:
            self.write("POST", "/v1/food-entries/batch", entries)
            self.add_together(entries)

    def edit(self) -> None:
        self.change("products", "/v1/products", kcal_100g=next(self.numbers) % 1000)

    def weigh(self) -> None:
        self.change("food_entries", "/v1/food-entries", grams=next(self.numbers) % 1000 + 1)

    def move_default(self) -> None:
        if changed := self.change("portions", "/v1/portions", is_default=True):
            self.journal.add("portions", changed)

    def delete_entry(self) -> None:
        if entry := self.one_of("food_entries"):
            self.write("DELETE", f"/v1/food-entries/{entry['id']}")
            self.journal.delete("food_entries", entry["id"])

    def delete_product(self) -> None:
        if len(self.journal.live["products"]) > 5 and (product := self.one_of("products")):
            self.write("DELETE", f"/v1/products/{product['id']}")
            self.journal.delete("products", product["id"])

    def delete_and_restore(self) -> None:
        """Delete a product with its portions, or an entry, and undo the deletion."""
        table, path = self.chance.choice([("products", "/v1/products"), ("food_entries", "/v1/food-entries")])
        if row := self.one_of(table):
            self.write("DELETE", f"{path}/{row['id']}")
            self.write("POST", f"{path}/{row['id']}/restore")

    def push(self) -> None:
        """Push a product with a portion and entries, and the deletion of another entry."""
        self.since = self.call("GET", f"/v1/sync?last_pulled_at={self.since}")["timestamp"]
        product = {"id": str(uuid4()), "name": f"Pushed {next(self.numbers)}", "kcal_100g": 200}
        portion = {"id": str(uuid4()), "product_id": product["id"], "name": "Cup", "grams": 9.5, "is_default": True}
        entries = [self.entry(product) for _ in range(BATCH)]
        gone = self.one_of("food_entries")
        deleted = [gone["id"]] if gone else []
        sent = {
            "products": {"created": [product]},
            "portions": {"created": [portion]},
            "food_entries": {"created": entries, "deleted": deleted},
        }
        content = self.write("POST", f"/v1/sync?last_pulled_at={self.since}", sent)
        if content["rejected"]:
            raise Broken(f"push: {content}")
        self.journal.add("products", product)
        self.journal.add("portions", portion)
        self.add_together(entries, [product["id"], portion["id"]])
        for row_id in deleted:
            self.journal.delete("food_entries", row_id)

    def erase(self) -> None:
        """Request the erasure of the device until it is confirmed, and continue as a new device."""
        erasure_id, times = str(uuid4()), 0
        until = time.monotonic() + RETRY_SECONDS
        while not self.has_erased(erasure_id, times):
            times += 1
            if time.monotonic() > until:
                raise NoResponse(f"erasure {erasure_id}")
        self.expect(401, "GET", "/v1/devices/me")
        self.erased.append(Erased(self.device_id, erasure_id, self.journal, by_receipt=bool(times)))
        self.journal, self.token, self.since = Journal(), "", 1
        self.register()

    def has_erased(self, erasure_id: str, times: int) -> bool:
        """Request the erasure. Without a response, ask for the receipt. Return whether the erasure is confirmed."""
        try:
            response = self.attempt("DELETE", f"/v1/devices/me?erasure_id={erasure_id}")
        except NoResponse:
            receipt, _ = self.retry("GET", f"/v1/erasures/{erasure_id}")
            if receipt.status_code not in (200, 404):
                raise Broken(f"receipt {erasure_id}: {receipt}") from None
            return receipt.status_code == 200
        if (
            response.status_code == 401 and times
        ):  # an earlier request was carried out, but only after its receipt was requested
            self.call("GET", f"/v1/erasures/{erasure_id}")
            return True
        if response.status_code != 204:
            raise Broken(f"DELETE /v1/devices/me: {response}")
        self.journal.answered += 1
        return True

    def return_as_erased(self) -> None:
        """Check that no erased device can be registered again, and that each has a finished receipt."""
        for erased in self.erased:
            self.expect(409, "POST", "/v1/auth/register", {"device_id": erased.device_id})
            receipt = self.call("GET", f"/v1/erasures/{erased.erasure_id}")
            if not receipt["erased_at"]:
                raise Broken(f"receipt {erased.erasure_id}: {receipt}")

    def change(self, table: str, path: str, **values) -> dict | None:
        row = self.one_of(table)
        if row and row | values == row:
            self.call("PATCH", f"{path}/{row['id']}", values)
        elif row:
            self.write("PATCH", f"{path}/{row['id']}", values)
            row |= values
        return row

    # --- rows --------------------------------------------------------------------------------------

    def one_of(self, table: str) -> dict | None:
        rows = list(self.journal.live[table].values())
        return self.chance.choice(rows) if rows else None

    def entry(self, of: dict | None = None) -> dict | None:
        product = of or self.one_of("products")
        day = date(2026, 1, 1) + timedelta(days=self.chance.randrange(365))
        eaten = {"grams": self.chance.randrange(1, 999), "date": str(day), "meal_type": "lunch"}
        return product and {"id": str(uuid4()), "product_id": product["id"], **eaten}

    def add_together(self, entries: list[dict], with_ids=()) -> None:
        for entry in entries:
            self.journal.add("food_entries", entry)
        self.journal.together.append([*with_ids, *(entry["id"] for entry in entries)])

    # --- requests ----------------------------------------------------------------------------------

    def write(self, method: str, path: str, body=None):
        """Send a write until there is a response. It must change something."""
        content = self.call(method, path, body)
        self.journal.changes += 1
        return content

    def call(self, method: str, path: str, body=None):
        """Send until there is a response, and return its content. Raise Broken if it is an error."""
        response, failures = self.retry(method, path, body)
        self.journal.answered += 1
        self.journal.again += bool(failures)
        if response.status_code < 300 or (response.status_code == 404 and method == "DELETE" and failures):
            return response.json() if response.content else None
        raise Broken(f"{method} {path}: {response}")

    def expect(self, expected: int, method: str, path: str, body=None) -> None:
        """Send until there is a response. Raise Broken if its status is not the expected one."""
        response, _ = self.retry(method, path, body)
        if response.status_code != expected:
            raise Broken(f"{method} {path}: {expected} expected, but {response}")

    def pause(self) -> float:
        return self.chance.uniform(0.02, 0.2)
