"""What is theirs: the row that a device owns, and the change set, the only way to write one.

A change set is one transaction and one revision of the device. It locks the device's row first, so that a device's
changes come in one gap-free, growing order, and nobody deadlocks. From that come the ETag and the sync cursor.
"""

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime, timedelta
from functools import cache
from typing import Self

from django.apps import apps
from django.db import DatabaseError, models, transaction
from django.utils import timezone

from countonme.api.errors import Conflict, InvalidToken
from countonme.db import bulk
from countonme.db.statements import insert_row, update_row
from devices.models import Device
from ownership.quotas import Quota

_open: ContextVar["ChangeSet | None"] = ContextVar("open_change_set", default=None)


class OutsideChangeSet(RuntimeError):
    """A device's row was about to be written around its change set. A bug, always."""


class ChangeSet:
    """The revision that a device's rows get now, and the time; each row's is a little later than the last one's."""

    def __init__(self, device_id: uuid.UUID, revision: int, quota: Quota, *, counts_rows: bool = True):
        self.device_id = device_id
        self.revision = revision
        self.quota = quota
        self.counts_rows = counts_rows
        self.at = quota.now
        self.wrote = False

    def tick(self) -> datetime:
        """Take note of a write, and return its time."""
        if self.wrote:
            self.at += timedelta(microseconds=1)
        self.wrote = True
        return self.at

    def count_new(self, model: "type[DeviceOwned]") -> None:
        """Count a row that is added; raise QuotaReached or Throttled if there may be no more."""
        if not self.counts_rows:
            return
        if refusal := self.quota.refusal(model):
            raise refusal
        self.quota.add(model)


@contextmanager
def change_set(device: Device, *, counts_rows: bool = True) -> Iterator[ChangeSet]:
    """Write to the device's rows inside of this block: all or nothing, under one new revision.

    A block that writes nothing leaves the revision as it was. Inside another block of the same device it joins that.
    Raises InvalidToken where the device has been deleted since it was asked for. With `counts_rows=False` the caller
    counts the rows that it adds, in `quota`, and refuses what is too much.
    """
    if outer := _open.get():
        if outer.device_id != device.pk:
            raise OutsideChangeSet(f"a change set of device {outer.device_id} is open, not of {device.pk}")
        yield outer
        return
    with transaction.atomic():
        locked = Device.objects.next_revision(device.pk)
        if locked is None:
            raise InvalidToken
        revision, *counters = locked
        quota = Quota(*counters, registered_at=device.created_at, now=timezone.now())
        changes = ChangeSet(device.pk, revision, quota, counts_rows=counts_rows)
        token = _open.set(changes)
        try:
            yield changes
        finally:
            _open.reset(token)
        if not changes.wrote:
            transaction.set_rollback(True)
        elif quota.changed:
            Device.objects.store_counters(device.pk, quota.row_counts, quota.new_rows, quota.day)


def open_change_set(device_id: uuid.UUID | None = None) -> ChangeSet:
    """Return the open change set; raise OutsideChangeSet if there is none, or it is not of this device."""
    changes = _open.get()
    if changes is None or device_id not in (None, changes.device_id):
        raise OutsideChangeSet("write to a device's rows inside of `with change_set(device):`")
    return changes


class OwnedQuerySet(models.QuerySet):
    def for_device(self, device: Device | uuid.UUID):
        return self.filter(device=device)

    def update(self, **values) -> int:
        changes = open_change_set()
        values = {"revision": changes.revision, "updated_at": changes.tick(), **values}
        return models.QuerySet.update(self.for_device(changes.device_id), **values)

    def bulk_create(self, rows, **kwargs):
        rows = list(rows)
        for row in rows:
            row.stamp()
        if len(rows) == 1 and not kwargs:
            insert_row(rows[0])
            return rows
        # By id: two devices that send the same ids, in whatever orders, must not wait for each other.
        return super().bulk_create(sorted(rows, key=lambda row: row.pk), **kwargs)

    def add_all(self, rows: list["DeviceOwned"]) -> set[uuid.UUID]:
        """Store those new rows whose id is free, and return their ids. Few statements, whatever their number."""
        for row in rows:
            row.stamp()
        return bulk.insert_free(sorted(rows, key=lambda row: row.pk))  # by id, as in bulk_create

    def change_all(self, rows: list["DeviceOwned"]) -> None:
        """Write rows that have changed, whole. Few statements, whatever their number."""
        for row in rows:
            row.stamp()
        bulk.update(rows, of="device")

    def delete(self):
        return models.QuerySet.delete(self.for_device(open_change_set().device_id))

    def soft_delete(self) -> int:
        return self.update(deleted_at=open_change_set().at)

    def purge(self) -> int:
        """Remove tombstones for good, which alone needs no change set: nobody is shown them but as deleted."""
        return self.exclude(deleted_at=None)._raw_delete(self.db)

    def erase(self) -> int:
        """Remove rows of a device that is marked for erasure. Such a device gets no more change sets."""
        return self._raw_delete(self.db)

    update.alters_data = soft_delete.alters_data = delete.alters_data = True


class LiveManager(models.Manager):
    def get_queryset(self):
        return super().get_queryset().filter(deleted_at=None)


class DeviceOwned(models.Model):
    """A row that belongs to one device, which alone ever sees it, and only while it is live.

    `objects` shows live rows, `all_objects` deleted ones too. A query begins with `.for_device(device)`, or from the
    device: `device.products`.
    """

    quota_setting: str  # the setting that says how many rows of this model a device may store
    quota_per_parent_setting: str | None = None  # the same for one row that they are parts of

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    device = models.ForeignKey(Device, on_delete=models.PROTECT, db_index=False)
    revision = models.BigIntegerField(editable=False, help_text="The device's revision at the last change.")
    created_at = models.DateTimeField(editable=False)
    updated_at = models.DateTimeField(null=True, editable=False)
    deleted_at = models.DateTimeField(null=True, editable=False)

    objects = LiveManager.from_queryset(OwnedQuerySet)()
    all_objects = models.Manager.from_queryset(OwnedQuerySet)()

    class Meta:
        abstract = True
        indexes = [models.Index(fields=["device", "revision"], name="%(class)s_feed")]
        constraints = [
            # A device starts at 1: a phone that asks for what came after that must be shown every row.
            models.CheckConstraint(condition=models.Q(revision__gte=2), name="%(class)s_revision_from_2")
        ]

    @classmethod
    def new(cls, **columns) -> Self:
        """Return a row, not stored yet, with these values of columns, and the defaults of the others.

        As `cls(**columns)` does, in a third of its time: that catches an exception for each column without a value.
        """
        values = [columns.pop(name) if name in columns else default() for name, default in defaults(cls)]
        if columns:
            raise TypeError(f"{cls.__name__} has no {', '.join(columns)}.")
        return cls(*values)

    def stamp(self) -> None:
        """Put the open change set's revision and time on the row."""
        changes = open_change_set(self.device_id)
        self.revision = changes.revision
        if self._state.adding:
            changes.count_new(type(self))
            self.created_at = changes.tick()
        else:
            self.updated_at = changes.tick()

    def save(self, **kwargs) -> None:
        self.stamp()
        # An id that the client chose must never turn an insert into an update of somebody's row.
        if self._state.adding:
            insert_row(self)
        elif not update_row(self, of="device"):
            raise DatabaseError(f"{self!r} is not stored, or is another device's.")

    def take(self, **values) -> bool:
        """Put the values that differ on the row, and what follows from them; say whether there are any."""
        changed = {name: value for name, value in values.items() if getattr(self, name) != value}
        for name, value in changed.items():
            setattr(self, name, value)
        return bool(changed)

    def change(self, **values) -> bool:
        """Store the values that differ. A row that says the same already is not touched."""
        changed = self.take(**values)
        if changed:
            self.save()
        return changed

    def delete(self, **kwargs):
        """Remove the row for good. No request gets here; a client's deletion is `soft_delete()`."""
        open_change_set(self.device_id)
        return super().delete(**kwargs)

    def soft_delete(self) -> None:
        self.deleted_at = open_change_set(self.device_id).at
        self.save()

    def restore(self) -> None:
        """Make the tombstone a live row again, with what it said. The phone gets it with its next sync."""
        if self.deleted_at is None:
            raise Conflict("It is not deleted.")
        self.deleted_at = None
        self.save()


@cache
def defaults(model: type[DeviceOwned]) -> list[tuple[str, Callable]]:
    """Return the names of the columns, each with what makes its default."""
    return [(field.attname, field.get_default) for field in model._meta.concrete_fields]


def owned_models() -> list[type[DeviceOwned]]:
    return [model for model in apps.get_models() if issubclass(model, DeviceOwned)]
