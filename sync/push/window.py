"""`RowWindow`: the stored rows that a push has in memory."""

from collections.abc import Collection
from uuid import UUID

from countonme.db.bulk import in_batches
from ownership.models import DeviceOwned
from sync.limiter import RowCount
from sync.registry import SyncTable

BATCH = 500  # rows that are loaded at once, because a model takes ten times the memory of its JSON


class RowWindow:
    """The device's rows of one table that are in memory, live or deleted. Nothing else loads or evicts them.

    A push may have 50,000 rows, so the stages work in batches and the window holds the rows of one. Rows that must stay
    until they are written, such as new ones, are in the lists of `TablePush`.
    """

    def __init__(self, table: SyncTable, device_id: UUID, count: RowCount):
        self.table, self.device_id, self.count = table, device_id, count
        self.columns = ("device_id", *table.references)
        self.rows: dict[UUID, DeviceOwned | None] = {}  # None: the device has no such row

    def load(self, ids: Collection[UUID]) -> None:
        """Load the rows with these ids, unless they are already in memory, and evict all others."""
        self.rows = {row_id: self.rows[row_id] for row_id in ids if row_id in self.rows}
        missing = [row_id for row_id in ids if row_id not in self.rows]
        self.rows |= dict.fromkeys(missing)
        for batch in in_batches(missing, BATCH):  # a query result takes as much memory as its rows
            rows = self.table.rows_by_id(device=self.device_id, ids=batch)
            self.count.add(len(rows))
            self.intern_ids(rows)
            self.rows.update((row.pk, row) for row in rows)

    def get(self, row_id: UUID) -> DeviceOwned | None:
        return self.rows.get(row_id)

    @property
    def loaded(self) -> list[DeviceOwned]:
        return [row for row in self.rows.values() if row]

    def clear(self) -> None:
        self.rows = {}

    def intern_ids(self, rows: list[DeviceOwned]) -> None:
        """Let rows that refer to the same row share one UUID object, to save memory."""
        known: dict[UUID | None, UUID | None] = {}
        for row in rows:
            for column in self.columns:
                row_id = getattr(row, column)
                setattr(row, column, known.setdefault(row_id, row_id))
