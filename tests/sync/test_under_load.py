"""Six writers and three pullers on one device, at once, for SYNC_LOAD_SECONDS (10 is thorough)."""

import json
import os
import random
import time
from copy import copy
from functools import partial
from threading import Event

import pytest

from countonme.api.compression import Body
from devices.models import Device
from sync.cursor import Cursor
from sync.feed import pull
from tests.harness.at_once import at_once
from tests.harness.sync import entry, live, portion, product, pulled, push

pytestmark = [
    pytest.mark.postgres,
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("separate_workers"),
]

SECONDS = float(os.environ.get("SYNC_LOAD_SECONDS", "3"))


class Puller:
    """Keeps what it was sent, and complains of a child that comes without its parent."""

    def __init__(self, api):
        self.api, self.cursor, self.orphans = api, None, []
        self.rows = {"products": {}, "portions": {}, "food_entries": {}}
        self.deleted = set()

    def pull(self) -> None:
        answer = pulled(self.api, self.cursor)
        for table, changes in answer["changes"].items():
            self.rows[table].update((row["id"], row) for row in changes["updated"])
            for row_id in changes["deleted"]:
                self.rows[table].pop(row_id, None)
            self.deleted |= set(changes["deleted"])
        for table in ("portions", "food_entries"):
            for row in self.rows[table].values():
                if row["product_id"] not in self.rows["products"].keys() | self.deleted:
                    self.orphans.append(row)
        self.cursor = answer["timestamp"]


def writes_rest(api, until: float, number: int) -> None:
    while time.monotonic() < until:
        row = product(name=f"Rest {number}")
        assert api.post("/v1/products", row).status_code == 201
        assert api.post("/v1/food-entries", entry(row)).status_code == 201
        assert api.patch(f"/v1/products/{row['id']}", {"kcal_100g": 5}).status_code == 200
        if random.random() < 0.3:
            assert api.delete(f"/v1/products/{row['id']}").status_code == 204


def writes_pushes(api, until: float, number: int) -> None:
    while time.monotonic() < until:
        row = product(name=f"Push {number}")
        new = {
            "products": {"created": [row]},
            "portions": {"created": [portion(row, is_default=True)]},
            "food_entries": {"created": [entry(row) for _ in range(3)]},
        }
        since = pulled(api)["timestamp"]
        assert push(api, since, **new).status_code == 200
        if random.random() < 0.3:
            assert push(api, since, products={"deleted": [row["id"]]}).status_code in (200, 409)


def pulls(api, done: Event) -> Puller:
    puller = Puller(api)
    while not done.is_set():
        puller.pull()
    puller.pull()
    return puller


def under_load(api) -> list[Puller]:
    """Return the pullers, each of which has pulled once more after the last write."""
    until, done, writing = time.monotonic() + SECONDS, Event(), list(range(6))

    def written(client, number):
        try:
            (writes_rest if number % 2 else writes_pushes)(client, until, number)
        finally:
            writing.remove(number)
            if not writing:
                done.set()

    writers = [partial(written, copy(api), number) for number in writing]
    pullers = [partial(pulls, copy(api), done) for _ in range(3)]
    return at_once(*writers, *pullers)[6:]


def missed(api, pullers: list[Puller]) -> list[str]:
    """Return the ids of rows that a puller has not as they are, has still, or got before its parent."""
    found = []
    for table in ("products", "portions", "food_entries"):
        rows = live(api, table)
        for puller in pullers:
            mine = puller.rows[table]
            found += [row_id for row_id in rows.keys() | mine.keys() if rows.get(row_id) != mine.get(row_id)]
    return found + [row["id"] for puller in pullers for row in puller.orphans]


def test_no_puller_misses_a_row_or_sees_a_child_without_its_parent(api):
    pullers = under_load(api)

    assert sum(len(rows) for rows in pullers[0].rows.values()) > 50
    assert missed(api, pullers) == []


def test_a_counter_that_is_read_after_the_rows_is_found_out(api, monkeypatch):
    """The test above would fail if the feed were wrong: here it is."""

    def counter_last(device: Device, since: int, whole, body: Body, on_large) -> int:
        early = Body(gzip=False)
        count = pull(device, since, whole, early)
        answer = json.loads(early.response("application/json").getvalue())
        body.write(json.dumps(answer | {"timestamp": Cursor.of(device, since).revision}).encode())
        return count

    monkeypatch.setattr("sync.views.pull", counter_last)

    assert missed(api, under_load(api))
