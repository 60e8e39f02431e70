"""Hash collisions: clients choose the ids of their rows, and no choice may make a push or a purge slow."""

import gc
import time
from collections.abc import Callable
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from django.utils import timezone

from sync.purge import purge
from sync.registry import tables
from tests.harness.sync import ALL_STORED, entry, portion, product, push_ok, revision

COUNT = 4_000
MODULUS = 2**61 - 1  # Python's hash of an int, and so of a UUID, is the number modulo this
AT_MOST = 2  # times as slow as with random ids
SLACK = 0.1  # seconds

# For each table, a factory of rows and an edit. The test fails for tables that are missing here.
ROWS: dict[str, tuple[Callable, dict]] = {
    "products": (lambda of, **values: product(**values), {"kcal_100g": 3}),
    "portions": (portion, {"grams": 3}),
    "food_entries": (entry, {"grams": 3}),
}


def random_ids() -> list[str]:
    return [str(uuid4()) for _ in range(COUNT)]


def colliding_ids() -> list[str]:
    residue = uuid4().int % MODULUS
    return [str(UUID(int=residue + k * MODULUS)) for k in range(1, COUNT + 1)]


def cpu_seconds(call: Callable) -> float:
    """Return the CPU seconds that a call takes in this process, without garbage collection."""
    gc.disable()
    try:
        began = time.process_time()
        call()
        return time.process_time() - began
    finally:
        gc.enable()


def seconds_of(api, table: str, ids: list[str], of: dict) -> dict[str, float]:
    """Push rows with these ids in each list of the table, then purge them; return the seconds of each step."""
    make, edit = ROWS[table]
    rows = [make(of, id=row_id) for row_id in ids]

    def push(name: str, rows: list) -> None:
        assert push_ok(api, revision(api), **{table: {name: rows}}) == ALL_STORED

    return {
        "created": cpu_seconds(lambda: push("created", rows)),
        "updated": cpu_seconds(lambda: push("updated", [row | edit for row in rows])),
        "deleted": cpu_seconds(lambda: push("deleted", ids)),
        "deleted again": cpu_seconds(lambda: push("deleted", ids)),
        "purged": cpu_seconds(lambda: list(purge(timezone.now() + timedelta(days=1), commit=True))),
    }


@pytest.mark.parametrize("table", [table.name for table in tables()])
def test_colliding_ids_take_no_longer_than_random_ones(api, settings, table):
    settings.MAX_PORTIONS_PER_PRODUCT = 10 * COUNT
    of = product()
    push_ok(api, products={"created": [of]})
    seconds_of(api, table, random_ids()[:10], of)  # compile all queries before measuring

    usual, colliding = (seconds_of(api, table, ids, of) for ids in (random_ids(), colliding_ids()))

    slow = {step: (usual[step], colliding[step]) for step in usual if colliding[step] > AT_MOST * usual[step] + SLACK}
    assert slow == {}
