"""The pull: what a phone has not heard of yet, all of it of one state."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager

from django.db import connection, transaction

from devices.models import Device
from sync.cursor import Cursor
from sync.tables import TABLES, Table


def pull(device: Device, since: int, whole: Collection[str] = ()) -> dict:
    """Return the changes after `since` and the device's revision, from one snapshot; tables in `whole` come whole."""
    with snapshot():
        cursor = Cursor.of(device, since)
        if cursor.is_lost:
            return after_restore(device, cursor)
        changes = {table.name: changes_of(table, device, cursor, table.name in whole) for table in TABLES}
    answer = {"changes": changes, "timestamp": cursor.revision}
    if since and cursor.is_purged:
        return answer | {"experimentalStrategy": "replacement"}
    return answer


@contextmanager
def snapshot() -> Iterator[None]:
    """Read one state of the database inside of this block: a counter with all the rows that it counts, and no others.

    On PostgreSQL it waits for no writer, and none for it. SQLite lets nobody write meanwhile.
    """
    first = not connection.in_atomic_block
    with transaction.atomic():
        if first and connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield


def after_restore(device: Device, cursor: Cursor) -> dict:
    """Return everything there is, and which rows are newer than what the phone has: in all others the phone is right.

    Without the latter, a phone that had merely missed something would push what it still has over it.
    """
    answer = {"changes": {}, "timestamp": cursor.revision, "restored": True, "newer": {}}
    for table in TABLES:
        rows = table.everything(device=device.pk)
        newer = [row["id"] for row in rows if row.pop("revision") > cursor.since and row["deleted_at"] is None]
        answer["newer"][table.name] = newer
        answer["changes"][table.name] = told_apart(rows)
    return answer


def changes_of(table: Table, device: Device, cursor: Cursor, whole: bool) -> dict:
    """Return a table's changes. Live rows all go into `updated`: as `created` they would revive what a user deleted."""
    if not cursor.since or cursor.is_purged:
        return {"created": [], "updated": table.live(device=device.pk), "deleted": []}
    read = table.whole if whole else table.changed_since
    return told_apart(read(device=device.pk, since=cursor.since))


def told_apart(rows: list[dict]) -> dict:
    """Return changed rows as live ones and the ids of tombstones."""
    updated, deleted = [], []
    for row in rows:
        if row.pop("deleted_at") is None:
            updated.append(row)
        else:
            deleted.append(row["id"])
    return {"created": [], "updated": updated, "deleted": deleted}
