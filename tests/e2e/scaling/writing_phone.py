"""A phone that records its confirmed writes, and retries requests without a response."""

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event
from uuid import uuid4

from tests.harness.phone import Phone


class WritingPhone(Phone):
    """A device. `products` (id: kcal) and `entries` are the confirmed rows, and `writes` is the number of changes."""

    def __init__(self, port: int, seed: int = 0):
        super().__init__(port, keeps_connection=True)
        self.random = random.Random(seed)
        self.cursor, self.writes, self.unanswered = 0, 0, 0
        self.products: dict[str, int] = {}
        self.entries: set[str] = set()
        self.register()

    def move_to(self, port: int) -> None:
        """Call another copy of the service from now on."""
        self.close()
        self.port = port

    def request(self, method: str, path: str, body: object = None, *, accepted: set[int]) -> object:
        """Send until there is a response, and return its body. Fail if its status is not an accepted one."""
        response, failures = self.retry(method, path, body)
        self.unanswered += failures
        assert response.status_code in accepted, (method, path, response)
        return response.json() if response.content else None

    # --- a day -------------------------------------------------------------------------------------

    def live(self, over: Event) -> None:
        while not over.is_set():
            self.random.choice((self.add_product, self.change_product, self.log_entry, self.delete_entry, self.sync))()

    def add_product(self) -> None:
        row = {"id": str(uuid4()), "name": "Rye bread", "kcal_100g": 1}
        self.request("POST", "/v1/products", row, accepted={201, 200})  # 200: a retry
        self.products[row["id"]] = 1
        self.writes += 1

    def change_product(self) -> None:
        if self.products:
            row_id = self.random.choice(list(self.products))
            kcal = self.products[row_id] % 999 + 1
            self.request("PATCH", f"/v1/products/{row_id}", {"kcal_100g": kcal}, accepted={200})
            self.products[row_id] = kcal
            self.writes += 1

    def log_entry(self) -> None:
        if self.products:
            row = {"id": str(uuid4()), "product_id": self.random.choice(list(self.products)), "grams": 70}
            self.request("POST", "/v1/food-entries", row | {"date": "2026-01-05"}, accepted={201, 200})
            self.entries.add(row["id"])
            self.writes += 1

    def delete_entry(self) -> None:
        if self.entries:
            row_id = self.entries.pop()
            self.request("DELETE", f"/v1/food-entries/{row_id}", accepted={204, 404})
            self.writes += 1

    def sync(self) -> None:
        """Pull, and push a product with a portion and an entry."""
        self.pull()
        product, portion, entry = (str(uuid4()) for _ in range(3))
        eaten = {"product_id": product, "portion_id": portion, "quantity": 2, "grams": 71}
        new = {
            "products": {"created": [{"id": product, "name": "Oats", "kcal_100g": 370}]},
            "portions": {
                "created": [{"id": portion, "product_id": product, "name": "Bowl", "grams": 35.5, "is_default": True}]
            },
            "food_entries": {"created": [{"id": entry, **eaten, "date": "2026-01-05", "meal_type": "lunch"}]},
        }
        content = self.request("POST", f"/v1/sync?last_pulled_at={self.cursor}", new, accepted={200})
        assert content["rejected"] == []
        self.products[product] = 370
        self.last = product
        self.entries.add(entry)
        self.writes += 1

    def pull(self, since: int | None = None) -> dict:
        query = f"?last_pulled_at={self.cursor if since is None else since}"
        content = self.request("GET", f"/v1/sync{query}", accepted={200})
        self.cursor = content["timestamp"]
        return content

    def finds_everything(self) -> bool:
        """Return whether the service has exactly the confirmed rows, and one revision for each change."""
        content = self.pull(since=0)
        changes = content["changes"]
        products = {row["id"]: row["kcal_100g"] for row in changes["products"]["updated"]}
        entries = {row["id"] for row in changes["food_entries"]["updated"]}
        return (products, entries, content["timestamp"]) == (self.products, self.entries, self.writes + 1)


@contextmanager
def write_and_sync(phones: list[WritingPhone]) -> Iterator[None]:
    """Let all phones write and sync in threads inside the block."""
    over = Event()
    with ThreadPoolExecutor(len(phones)) as pool:
        lives = [pool.submit(phone.live, over) for phone in phones]
        try:
            yield
        finally:
            over.set()
    for life in lives:
        life.result()
