"""Permanently delete old tombstones."""

from collections.abc import Iterator
from datetime import datetime
from uuid import UUID

from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet

from countonme.db.bulk import in_batches
from devices.models import Device
from sync.registry import SyncTable, tables

BATCH = 500  # rows in one statement: SQLite takes 999 parameters


def purge(before: datetime, *, commit: bool) -> Iterator[tuple[UUID, dict[str, int]]]:
    """Remove rows deleted before a time. Yield the number of rows for each device, by table.

    Without `commit` they are only counted.
    """
    for device_id in devices_with_tombstones(before):
        with transaction.atomic():
            removed = purge_device(device_id, before)
            if not commit:
                transaction.set_rollback(True)
        yield device_id, removed


def devices_with_tombstones(before: datetime) -> list[UUID]:
    found: set[UUID] = set()
    for table in tables():
        old = table.model.all_objects.for_device(OuterRef("pk")).filter(deleted_at__lt=before)
        found.update(Device.objects.active().filter(Exists(old)).values_list("pk", flat=True))
    return sorted(found)


def purge_device(device_id: UUID, before: datetime) -> dict[str, int]:
    """Remove a device's old tombstones under its lock, children first. Return the number of rows by table.

    It also updates `purged_through`, the highest revision of a purged row, and the counters of the quotas. A device
    that is marked for erasure is skipped.
    """
    device = Device.objects.active().select_for_update().filter(pk=device_id).first()
    if device is None:
        return {}
    removed, through, row_counts = {}, device.purged_through, device.row_counts
    for table in reversed(tables()):
        purged = dict(unreferenced_tombstones(table, device_id, before).values_list("pk", "revision"))
        for ids in in_batches(list(purged), BATCH):
            table.model.all_objects.for_device(device_id).filter(pk__in=ids).purge()
        removed[table.name], through = len(purged), max(through, *purged.values(), 0)
        db_table = table.model._meta.db_table
        row_counts[db_table] = max(0, row_counts.get(db_table, 0) - len(purged))
    Device.objects.filter(pk=device_id).update(purged_through=through, row_counts=row_counts)
    return removed


def unreferenced_tombstones(table: SyncTable, device_id: UUID, before: datetime) -> QuerySet:
    """Return a device's old tombstones that no row refers to, live or not."""
    rows = table.model.all_objects.for_device(device_id).filter(deleted_at__lt=before)
    for other in tables():
        for column, model in other.references.items():
            if model is table.model:
                rows = rows.exclude(
                    Exists(other.model.all_objects.for_device(device_id).filter(**{column: OuterRef("pk")}))
                )
    return rows
