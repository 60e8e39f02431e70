"""The state of a push: for each table, the rows that are still to be processed."""

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from devices.models import Device
from ownership.models import ChangeSet, DeviceOwned, OwnedQuerySet
from sync.limiter import RowCount
from sync.push.payload import PushedRow, TablePayload
from sync.push.quotas import NewRows
from sync.push.window import RowWindow
from sync.registry import SyncTable


@dataclass
class Writes:
    """Rows of one table that are written together."""

    to_clear: list[DeviceOwned] = field(default_factory=list)  # updated rows that had an exclusive value before
    to_insert: list[DeviceOwned] = field(default_factory=list)
    written: dict[UUID, str] = field(default_factory=dict)  # new rows as JSON, which takes less memory than models
    to_update: dict[UUID, DeviceOwned] = field(default_factory=dict)


@dataclass
class TablePush:
    """One table of a push. The stages remove rows from the lists when they have processed them."""

    sync: SyncTable
    payload: TablePayload  # rows and deletions that are not judged yet, and rejected rows
    device: Device
    at: datetime  # `deleted_at` of the rows that this push deletes
    windows: dict[type[DeviceOwned], RowWindow]  # of all tables
    new_rows: NewRows
    ids_of_others: set[UUID]  # ids that are known to belong to other devices
    children: "list[TablePush]"  # the tables whose rows are children of this table's rows

    to_delete: list[UUID] = field(default_factory=list)  # only ids, to save memory
    to_redelete: list[UUID] = field(default_factory=list)  # tombstones that get the new revision
    upserts: dict[UUID, PushedRow] = field(default_factory=dict)  # rows to create or update, in the order sent
    pending_children: list[DeviceOwned] = field(default_factory=list)  # pushed rows that `settle()` will get
    claims: list[DeviceOwned] = field(default_factory=list)  # pending children that claim an exclusive value
    unsettled_parents: set[UUID] = field(default_factory=set)  # parents that are new, or have lost children
    waiting: Writes = field(default_factory=Writes)  # rows that can only be written when all rows are known

    @property
    def window(self) -> RowWindow:
        return self.windows[self.sync.model]

    @property
    def all_rows(self) -> OwnedQuerySet:
        return self.sync.model.all_objects.for_device(self.device)

    @property
    def parent(self) -> SyncTable | None:
        """The table whose rows are the parents of this table's rows."""
        return self.windows[self.sync.parent_model].table if self.sync.parent_model else None

    @property
    def required_children(self) -> list[NewRows]:
        """The counters of the tables in which each row of this table has at least one child."""
        return [child.new_rows for child in self.children if child.sync.each_parent_has_one]

    def parent_id_of(self, row: DeviceOwned) -> UUID:
        return getattr(row, self.sync.parent_column)

    def reject(self, row_id: UUID, errors: list[dict]) -> None:
        self.payload.rejected[str(row_id)] = errors


def table_pushes(
    device: Device,
    changes: ChangeSet,
    payloads: list[TablePayload],
    ids_of_others: dict[SyncTable, set[UUID]],
    count: RowCount,
) -> list[TablePush]:
    """Return a TablePush for each payload, in the same order: parents before their children."""
    windows = {payload.table.model: RowWindow(payload.table, device.pk, count) for payload in payloads}
    pushes: list[TablePush] = []
    for payload in reversed(payloads):
        sync = payload.table
        children = [each for each in pushes if each.sync.parent_model is sync.model]
        new_rows = NewRows(sync, device.pk, changes.quota)
        pushes.insert(
            0, TablePush(sync, payload, device, changes.started_at, windows, new_rows, ids_of_others[sync], children)
        )
    return pushes
