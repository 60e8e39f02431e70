"""The pull: write all changes since the client's last pull as JSON, from one database snapshot."""

from collections.abc import Callable, Collection, Iterator
from contextlib import closing, contextmanager
from io import BytesIO

from django.db import connection, transaction

from countonme.api.compression import Body
from countonme.api.renderers import as_json
from devices.models import Device
from sync.cursor import Cursor
from sync.limiter import RowCount
from sync.registry import SyncTable, tables

CHUNK = 1000  # rows that are read at a time
LARGE = 2000  # rows; a pull of more rows is large


def pull(
    device: Device,
    since: int,
    full_tables: Collection[str],
    body: Body,
    on_large: Callable[[], None] = lambda: None,
) -> int:
    """Write the changes after `since` and the device's revision as JSON, from one snapshot; return the number of rows.

    Of `full_tables`, all live rows are written, whether or not they have changed. `on_large` is called once, as soon as
    more than LARGE rows have been read. An exception that it raises ends the pull and reaches the caller.
    """
    with snapshot():
        feed = Feed(device, Cursor.of(device, since), full_tables, body, on_large)
        feed.write()
    return feed.count.rows


@contextmanager
def snapshot() -> Iterator[None]:
    """Run all queries of this block on one snapshot, so that the device's revision and its rows are consistent.

    Writers don't block it, and it doesn't block writers. On SQLite, a deferred transaction that only reads takes no
    lock.
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
    """One pull. It reads rows in chunks, and writes each chunk as JSON before it reads the next one.

    So the rows and ids are never all in memory. Tombstones are read together with live rows, but written after them:
    their ids are buffered as JSON.
    """

    def __init__(
        self, device: Device, cursor: Cursor, full_tables: Collection[str], body: Body, on_large: Callable[[], None]
    ):
        self.device = device
        self.cursor = cursor
        self.full_tables = full_tables
        self.body = body
        self.count = RowCount(LARGE, on_large)
        self.newer: dict[SyncTable, JSONItems] = {}

    def write(self) -> None:
        """Write the response.

        After a restore, `newer` has the ids of the live rows that have changed since the client's last pull. For all
        other rows the client's version wins. Without `newer`, a client that missed a change would overwrite it.
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
        """Write a JSON object with a key for each table. `write(table)` writes the value."""
        separator = b"{"
        for table in tables():
            self.body.write(b'%s"%s":' % (separator, table.name.encode()))
            write(table)
            separator = b","
        self.body.write(b"}")

    def write_changes(self, table: SyncTable) -> None:
        """Write a table's changes. Live rows go into `updated`: `created` would restore rows deleted locally."""
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
                del rows  # free their memory before the next chunk is read
        self.body.write(b'],"deleted":')
        self.write_array(deleted)
        self.body.write(b"}")

    def write_array(self, items: "JSONItems") -> None:
        self.body.write(b"[")
        self.body.write(items.out.getbuffer())
        self.body.write(b"]")

    def chunks(self, table: SyncTable) -> Iterator[list[dict]]:
        """Return an iterator over the chunks of rows. If there can be tombstones, the rows have a `deleted_at`."""
        device, since = self.device.pk, self.cursor.since
        if self.cursor.is_lost:
            return table.all_rows.json_chunks(CHUNK, device=device)
        if not since or self.cursor.is_purged:
            return table.live.json_chunks(CHUNK, device=device)
        query = table.live_or_changed_since if table.name in self.full_tables else table.changed_since
        return query.json_chunks(CHUNK, device=device, since=since)

    def is_newer(self, row: dict) -> bool:
        """Remove `revision` from a row. Return whether the row is live and has changed since the last pull."""
        return row.pop("revision") > self.cursor.since and row["deleted_at"] is None


class JSONItems:
    """Writes the items of a JSON array, without its brackets, to `out` or to a buffer of its own."""

    def __init__(self, out: Body | None = None):
        self.out = out or BytesIO()
        self.separator = b""

    def extend(self, items: list) -> None:
        if items:
            self.out.write(self.separator)
            self.out.write(memoryview(as_json(items))[1:-1])
            self.separator = b","
