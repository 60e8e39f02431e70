"""The push: store all that a client has changed since its last pull, in one change set, or nothing.

A push runs through these stages:

1. `payload.read_payload()` reads and validates the body without the database, before the device is locked.
2. `stages.judge()` compares each row with the stored one, by the decision table in `verdicts.py`. If any row is in
   conflict, nothing is stored.
3. `stages.delete()` soft-deletes rows, and the children of these rows.
4. Then each table is processed, parents before their children:
   `stages.upsert()` creates and changes rows, and rejects each row that can never be stored;
   `stages.settle_children()` makes sure that each parent has one default child;
   `stages.write()` stores the rows that could only be written when all rows were known.
Then the view calls `response.render()`, which lists the rejected rows.

`tables.TablePush` is the state of one table: lists of the rows that are still to be processed. `window.RowWindow`
decides which rows are in memory. `exclusive.py` handles values that only one row can have, `quotas.py` the number of
new rows.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from uuid import UUID

from django.db import connection

from countonme.api.errors import Conflict
from countonme.observability import metrics
from devices.models import Device
from ownership.models import ChangeSet, change_set
from sync.cursor import Cursor
from sync.limiter import RowCount
from sync.push import stages
from sync.push.payload import read_payload
from sync.push.response import Rejected
from sync.push.tables import TablePush, table_pushes
from sync.registry import tables

LARGE = 2_000  # stored rows; a push that loads more of them as models is large


class PushConflict(Conflict):
    default_detail = "Some of these rows have changed since the last pull. Pull, merge, and push again."

    def __init__(self, conflicts: dict[str, list[UUID]]):
        super().__init__()
        self.body = {"conflicts": conflicts}


def push(
    device: Device,
    bodies: Iterator,
    since: int,
    *,
    parsing: AbstractContextManager,
    on_large: Callable[[], None],
) -> Rejected:
    """Store the changes of a client whose last pull was at `since`. Return the rejected rows and their errors.

    Raises PushConflict if any pushed row has changed on the server since then. In that case nothing is stored.

    `bodies` yields the parsed request body, once for each attempt. Reading a body empties it, so that the body, the
    rows read from it and the models are never all in memory at once.

    A body is parsed and read inside `parsing`. `on_large` is called as soon as more than LARGE stored rows have been
    read. If it raises an exception, nothing is stored and the exception reaches the caller.
    """
    ids_of_others = {table: set() for table in tables()}
    while True:
        with parsing:
            payloads, rejected = read_payload(next(bodies), tables())
        rows = sum(each.accepted + len(each.rejected) for each in payloads) + sum(map(len, rejected.values()))
        try:
            with change_set(device, counts_rows=False) as changes:
                plan_for_these_ids()
                pushes = table_pushes(device, changes, payloads, ids_of_others, RowCount(LARGE, on_large))
                refuse_conflicts(pushes, Cursor.of(device, since), changes)
                store(pushes)
        except stages.IdsTaken as error:
            # Only the insert finds these ids, because no query reads the rows of other devices. Start again and reject
            # them. The set grows with each attempt, so the loop ends.
            ids_of_others[error.table] |= error.ids
            del payloads, pushes  # their memory is needed for the next attempt
        else:
            metrics.count_sync_rows("push", rows)
            return rejected | {each.sync.name: each.payload.rejected for each in pushes if each.payload.rejected}


def plan_for_these_ids() -> None:
    """Make PostgreSQL plan each query of this transaction for its actual parameters.

    A generic plan assumes that the device has an average number of rows. For a device that has many, it may choose to
    compare each row with each id.
    """
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL plan_cache_mode = force_custom_plan")


def refuse_conflicts(pushes: list[TablePush], cursor: Cursor, changes: ChangeSet) -> None:
    """Judge all rows. Raise PushConflict if any row is in conflict."""
    # The change set has already raised the revision of the device, and no client can have pulled at that one yet.
    stale = cursor.is_purged or cursor.is_lost or cursor.since == changes.revision
    judged = {table.sync.name: stages.judge(table, cursor.since, stale) for table in pushes}
    if conflicts := {name: ids for name, ids in judged.items() if ids}:
        metrics.count_conflicts(conflicts)
        raise PushConflict(conflicts)


def store(pushes: list[TablePush]) -> None:
    """Store the judged rows: first the deletions of all tables, then the rows, table by table."""
    for table in pushes:
        stages.delete(table)
    for table in pushes:
        stages.upsert(table)
        stages.settle_children(table)
        stages.write(table, table.waiting)
