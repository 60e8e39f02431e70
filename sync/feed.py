"""The pull: what a phone has not heard of yet, all of it of one state."""

from collections.abc import Callable, Collection, Iterator
from contextlib import closing, contextmanager
from io import BytesIO

from django.db import connection, transaction

from countonme.api.compression import Body
from countonme.api.renderers import as_json
from devices.models import Device
from sync.cursor import Cursor
from sync.registry import SyncTable, tables
from sync.turns import RowCount

CHUNK = 1000  # rows that are read at a time
LARGE = 2000  # rows


def pull(
    device: Device,
    since: int,
    whole: Collection[str],
    body: Body,
    on_large: Callable[[], None] = lambda: None,
) -> int:
    """Write the changes after `since` and the device's revision as JSON, from one snapshot; return the number of rows.

    Tables in `whole` come whole. As soon as more than LARGE rows are read, `on_large` is called, once. If it raises an
    exception, the pull ends there, and the caller gets the exception.
    """
    with snapshot():
        feed = Feed(device, Cursor.of(device, since), whole, body, on_large)
        feed.write()
    return feed.count.rows


@contextmanager
def snapshot() -> Iterator[None]:
    """Read one state of the database inside of this block: a counter with all the rows that it counts, and no others.

    It waits for no writer, and no writer waits for it. On SQLite, a deferred transaction of readers takes no lock.
    """
    if connection.in_atomic_block:
        with transaction.atomic():
            yield
        return
    mode = getattr(connection, "transaction_mode", None)
    if connection.vendor == "sqlite":
        connection.transaction_mode = "DEFERRED"
    try:
        with transaction.atomic():
            if connection.vendor == "postgresql":
                with connection.cursor() as cursor:
                    cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            yield
    finally:
        if connection.vendor == "sqlite":
            connection.transaction_mode = mode


class Feed:
    """One pull: reads rows in chunks, and writes each chunk as JSON before it reads the next one.

    No list holds all rows or all ids. Ids of tombstones are read between the live rows, and wait in a buffer of JSON.
    """

    def __init__(
        self, device: Device, cursor: Cursor, whole: Collection[str], body: Body, on_large: Callable[[], None]
    ):
        self.device = device
        self.cursor = cursor
        self.whole = whole
        self.body = body
        self.count = RowCount(LARGE, on_large)
        self.newer: dict[SyncTable, JSONItems] = {}

    def write(self) -> None:
        """Write the response.

        After a restore it names the live rows that are newer than the phone's. For all others the phone is right.
        Without these names, a phone that merely missed a change would push its old row over the new one.
        """
        self.body.write(b'{"changes":')
        self.write_by_table(self.write_changes)
        self.body.write(b',"timestamp":%d' % self.cursor.revision)
        if self.cursor.is_lost:
            self.body.write(b',"restored":true,"newer":')
            self.write_by_table(lambda table: self.write_array(self.newer[table]))
        elif self.cursor.since and self.cursor.is_purged:
            self.body.write(b',"experimentalStrategy":"replacement"')
        self.body.write(b"}")

    def write_by_table(self, write: Callable[[SyncTable], None]) -> None:
        """Write an object that has what `write(table)` writes under the name of each table."""
        separator = b"{"
        for table in tables():
            self.body.write(b'%s"%s":' % (separator, table.name.encode()))
            write(table)
            separator = b","
        self.body.write(b"}")

    def write_changes(self, table: SyncTable) -> None:
        """Write a table's changes. All live rows go into `updated`: `created` would revive rows that a user deleted."""
        self.body.write(b'{"created":[],"updated":[')
        updated, deleted = JSONItems(self.body), JSONItems()
        newer = self.newer[table] = JSONItems()
        with closing(self.chunks(table)) as chunks:
            for rows in chunks:
                self.count.add(len(rows))
                if self.cursor.is_lost:
                    newer.extend([row["id"] for row in rows if self.is_newer(row)])
                deleted.extend([row["id"] for row in rows if row.get("deleted_at") is not None])
                updated.extend([row for row in rows if row.pop("deleted_at", None) is None])
                del rows  # before the next ones are read
        self.body.write(b'],"deleted":')
        self.write_array(deleted)
        self.body.write(b"}")

    def write_array(self, items: "JSONItems") -> None:
        self.body.write(b"[")
        self.body.write(items.out.getbuffer())
        self.body.write(b"]")

    def chunks(self, table: SyncTable) -> Iterator[list[dict]]:
        """Return an iterator over the rows that the phone gets; those that may be tombstones have a `deleted_at`."""
        device, since = self.device.pk, self.cursor.since
        if self.cursor.is_lost:
            return table.everything.json_chunks(CHUNK, device=device)
        if not since or self.cursor.is_purged:
            return table.live.json_chunks(CHUNK, device=device)
        query = table.whole if table.name in self.whole else table.changed_since
        return query.json_chunks(CHUNK, device=device, since=since)

    def is_newer(self, row: dict) -> bool:
        """Take the revision off a row; return whether the row is live and has changed since the phone's last pull."""
        return row.pop("revision") > self.cursor.since and row["deleted_at"] is None


class JSONItems:
    """The items of a JSON array, without its brackets, written as they come: into `out`, or a buffer of their own."""

    def __init__(self, out: Body | None = None):
        self.out = out or BytesIO()
        self.separator = b""

    def extend(self, items: list) -> None:
        if items:
            self.out.write(self.separator)
            self.out.write(memoryview(as_json(items))[1:-1])
            self.separator = b","
