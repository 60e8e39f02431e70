"""The push: store what a client has changed since its last pull, in one change set, or nothing of it.

A push runs through these stages:

1. `payload.read_payload()` reads and validates the body without the database, before the device is locked.
2. `stages.judge()` compares each row with the stored one. `verdicts.py` is the table of the sync contract. A conflict
   refuses the whole push.
3. `stages.delete()` makes tombstones, of children together with their parents.
4. Then each table is dealt with, parents before their children:
   `stages.upsert()` makes and changes rows, and rejects each row that can never be stored;
   `stages.settle_children()` gives each parent one default child;
   `stages.write()` stores what had to wait until all rows were known.
Then the view calls `response.render()`, which names the rejected rows.

`tables.TablePush` is the state of one table: lists of what is still to be done. `window.RowWindow` decides which rows
are in memory. `exclusive.py` deals with values that only one row may have, `quotas.py` with the number of new rows.
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
from sync.push import stages
from sync.push.payload import read_payload
from sync.push.response import Rejected
from sync.push.tables import TablePush, table_pushes
from sync.registry import tables
from sync.turns import RowCount

LARGE = 2_000  # stored rows that are loaded as models


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
    """Store what a client that last pulled at `since` has changed. Return the rejected rows and their errors.

    Raises PushConflict if rows have changed since then that the client did not know. In that case nothing is stored.

    `bodies` yields the parsed body each time it is asked for one. Reading a body empties it, so that the body, the rows
    read from it and the models are never all in memory at once.

    A body is parsed and read inside of `parsing`. As soon as more than LARGE stored rows have been read, `on_large` is
    called. If it raises an exception, nothing is stored, and the caller gets the exception.
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
            # It is seen only when the rows are stored, since nobody reads another device's rows. So start again and
            # reject these ids. There are more of them each time, so that this ends.
            ids_of_others[error.table] |= error.ids
            del payloads, pushes  # their memory is needed for the next attempt
        else:
            metrics.synced_rows("push", rows)
            return rejected | {each.sync.name: each.payload.rejected for each in pushes if each.payload.rejected}


def plan_for_these_ids() -> None:
    """Have PostgreSQL plan each query of this transaction for its own ids.

    A plan for any ids may compare every row of the device with each of them: it assumes that a device has as many rows
    as the average one, and a device that pushes has many.
    """
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL plan_cache_mode = force_custom_plan")


def refuse_conflicts(pushes: list[TablePush], cursor: Cursor, changes: ChangeSet) -> None:
    """Judge all rows. Raise PushConflict if any is in conflict."""
    # The device already has the revision of this push, which no client can know.
    stale = cursor.is_purged or cursor.is_lost or cursor.since == changes.revision
    judged = {table.sync.name: stages.judge(table, cursor.since, stale) for table in pushes}
    if conflicts := {name: ids for name, ids in judged.items() if ids}:
        metrics.conflicted(conflicts)
        raise PushConflict(conflicts)


def store(pushes: list[TablePush]) -> None:
    """Store what was judged: the deletions of all tables, then the rows of one table after the other."""
    for table in pushes:
        stages.delete(table)
    for table in pushes:
        stages.upsert(table)
        stages.settle_children(table)
        stages.write(table, table.waiting)
