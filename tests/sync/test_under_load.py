"""Six writers and three pullers run concurrently on one device, for SYNC_LOAD_SECONDS (10 is thorough)."""

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
from tests.harness.sync import entry, live_rows, portion, product, pull_changes, push

pytestmark = [
    pytest.mark.postgres,
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("separate_workers"),
]

SECONDS = float(os.environ.get("SYNC_LOAD_SECONDS", "3"))


class Puller:
    """Pulls into `rows`, and records children whose parent is missing."""

    def __init__(self, api):
        self.api, self.cursor, self.orphans = api, None, []
        self.rows = {"products": {}, "portions": {}, "food_entries": {}}
        self.deleted = set()

    def pull(self) -> None:
        answer = pull_changes(self.api, self.cursor)
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


def write_over_rest(api, until: float, number: int) -> None:
    while time.monotonic() < until:
        row = product(name=f"Rest {number}")
        assert api.post("/v1/products", row).status_code == 201
        assert api.post("/v1/food-entries", entry(row)).status_code == 201
        assert api.patch(f"/v1/products/{row['id']}", {"kcal_100g": 5}).status_code == 200
        if random.random() < 0.3:
            assert api.delete(f"/v1/products/{row['id']}").status_code == 204


def write_by_push(api, until: float, number: int) -> None:
    while time.monotonic() < until:
        row = product(name=f"Push {number}")
        new = {
            "products": {"created": [row]},
            "portions": {"created": [portion(row, is_default=True)]},
            "food_entries": {"created": [entry(row) for _ in range(3)]},
        }
        since = pull_changes(api)["timestamp"]
        assert push(api, since, **new).status_code == 200
        if random.random() < 0.3:
            assert push(api, since, products={"deleted": [row["id"]]}).status_code in (200, 409)


def pull_until_done(api, done: Event) -> Puller:
    puller = Puller(api)
    while not done.is_set():
        puller.pull()
    puller.pull()
    return puller


def run_load(api) -> list[Puller]:
    """Run the writers and pullers. Return the pullers, each of which pulls once more after the last write."""
    until, done, writing = time.monotonic() + SECONDS, Event(), list(range(6))

    def write(client, number):
        try:
            (write_over_rest if number % 2 else write_by_push)(client, until, number)
        finally:
            writing.remove(number)
            if not writing:
                done.set()

    writers = [partial(write, copy(api), number) for number in writing]
    pullers = [partial(pull_until_done, copy(api), done) for _ in range(3)]
    return at_once(*writers, *pullers)[6:]


def find_mistakes(api, pullers: list[Puller]) -> list[str]:
    """Return the ids of rows that a puller lacks, has in another state, has after their deletion, or got as orphans."""
    found = []
    for table in ("products", "portions", "food_entries"):
        rows = live_rows(api, table)
        for puller in pullers:
            mine = puller.rows[table]
            found += [row_id for row_id in rows.keys() | mine.keys() if rows.get(row_id) != mine.get(row_id)]
    return found + [row["id"] for puller in pullers for row in puller.orphans]


def test_no_puller_misses_a_row_or_sees_a_child_without_its_parent(api):
    pullers = run_load(api)

    assert sum(len(rows) for rows in pullers[0].rows.values()) > 50
    assert find_mistakes(api, pullers) == []


def test_finds_a_revision_that_is_read_after_the_rows(api, monkeypatch):
    """The test above would fail if a pull were wrong: here the pull is wrong."""

    def pull_with_late_revision(device: Device, since: int, full_tables, body: Body, on_large) -> int:
        early = Body(gzip=False)
        count = pull(device, since, full_tables, early)
        answer = json.loads(early.response("application/json").getvalue())
        body.write(json.dumps(answer | {"timestamp": Cursor.of(device, since).revision}).encode())
        return count

    monkeypatch.setattr("sync.views.pull", pull_with_late_revision)

    assert find_mistakes(api, run_load(api))
