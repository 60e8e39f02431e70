"""`DeviceOwned`, the base of all models whose rows belong to a device, and `change_set()`, the only way to write them.

A change set is one transaction and one revision of the device. It locks the device's row first. So the revisions of a
device increase without gaps, and change sets can't deadlock. ETags and the sync cursor rely on these revisions.
"""

import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime, timedelta
from functools import cache
from typing import Self

from django.apps import apps
from django.db import DatabaseError, models, transaction
from django.utils import timezone

from countonme.api.errors import Conflict, InvalidToken, id_taken
from countonme.db import bulk
from countonme.db.statements import insert_row, update_row
from devices.models import Device
from ownership.quotas import Quota

_open: ContextVar["ChangeSet | None"] = ContextVar("open_change_set", default=None)


class OutsideChangeSet(RuntimeError):
    """A device-owned row was written outside of a change set of its device. This is always a bug."""


class ChangeSet:
    """The revision and the time that written rows get. Each write gets a later time than the one before it.

    All rows that are deleted in one change set get the same `deleted_at`, which is `started_at`.
    """

    def __init__(self, device_id: uuid.UUID, revision: int, quota: Quota, *, counts_rows: bool = True):
        self.device_id = device_id
        self.revision = revision
        self.quota = quota
        self.counts_rows = counts_rows
        self.started_at = self.at = quota.now
        self.wrote = False

    def tick(self) -> datetime:
        """Register a write and return its time."""
        if self.wrote:
            self.at += timedelta(microseconds=1)
        self.wrote = True
        return self.at

    def count_new(self, model: "type[DeviceOwned]") -> None:
        """Count a new row. Raise QuotaReached or Throttled if the quota allows no more."""
        if not self.counts_rows:
            return
        if refusal := self.quota.refusal(model):
            raise refusal
        self.quota.add(model)


@contextmanager
def change_set(device: Device, *, counts_rows: bool = True) -> Iterator[ChangeSet]:
    """Open a change set. Either all writes inside this block are stored, with one new revision, or none.

    A block that writes nothing does not change the revision. A block inside another one of the same device joins that.
    Raises InvalidToken if the device has been deleted meanwhile. With `counts_rows=False` the caller enforces the
    quota: it must count its new rows in `ChangeSet.quota`.
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
    """Return the open change set. Raise OutsideChangeSet if there is none, or if it belongs to another device."""
    changes = _open.get()
    if changes is None or device_id not in (None, changes.device_id):
        raise OutsideChangeSet("write to a device's rows inside `with change_set(device):`")
    return changes


class OwnedQuerySet(models.QuerySet):
    def for_device(self, device: Device | uuid.UUID):
        return self.filter(device=device)

    def update(self, **values) -> int:
        changes = open_change_set()
        values = {"revision": changes.revision, "updated_at": changes.tick(), **values}
        return models.QuerySet.update(self.for_device(changes.device_id), **values)

    def bulk_create(self, rows) -> list["DeviceOwned"]:
        """Insert the rows. Raise Conflict with the ids that are taken, or that several of the rows have."""
        rows = list(rows)
        if len(rows) == 1:
            rows[0].save()
            return rows
        counts = Counter(row.pk for row in rows)
        stored = self.add_all(rows)
        if taken := [pk for pk, count in counts.items() if count > 1 or pk not in stored]:
            raise id_taken(*sorted(taken))
        return rows

    def add_all(self, rows: list["DeviceOwned"]) -> set[uuid.UUID]:
        """Insert the rows whose id is not taken, and return their ids. The number of statements stays small."""
        for row in rows:
            row.stamp()
        # Sorted by id, so that two devices that insert the same ids can't deadlock.
        return bulk.insert_if_id_is_free(sorted(rows, key=lambda row: row.pk))

    def add_written(self, objects: dict[uuid.UUID, str]) -> set[uuid.UUID]:
        """Insert stamped rows that `bulk.to_object()` has written, as `add_all()` does."""
        return bulk.insert_objects(self.model, dict(sorted(objects.items())))

    def change_all(self, rows: list["DeviceOwned"]) -> None:
        """Update all columns of rows that have changed. The number of statements stays small."""
        for row in rows:
            row.stamp()
        bulk.update(rows, of="device")

    def delete(self):
        return models.QuerySet.delete(self.for_device(open_change_set().device_id))

    def soft_delete(self) -> int:
        return self.update(deleted_at=open_change_set().started_at)

    def deleted_with(self, parent: "DeviceOwned"):
        """Filter by rows that were deleted in the same change set as their parent, or created as tombstones.

        Call this before the parent is restored. The revision can't be compared: a tombstone gets a new one if a device
        pushes the deletion again. `deleted_at` stays the same.
        """
        return self.filter(models.Q(deleted_at=parent.deleted_at) | models.Q(created_at__gte=models.F("deleted_at")))

    def purge(self) -> int:
        """Permanently remove tombstones. This needs no change set, since clients never see their contents."""
        return self.exclude(deleted_at=None)._raw_delete(self.db)

    def erase(self) -> int:
        """Permanently remove rows of a device that is marked for erasure, and so can't open a change set."""
        return self._raw_delete(self.db)

    update.alters_data = soft_delete.alters_data = delete.alters_data = True


class LiveManager(models.Manager):
    def get_queryset(self):
        return super().get_queryset().filter(deleted_at=None)


class DeviceOwned(models.Model):
    """A row that belongs to one device. No other device can see it.

    `objects` has the live rows, `all_objects` also the deleted ones. A query begins with `.for_device(device)`.
    """

    quota_setting: str  # the name of the setting that limits the rows of one device
    quota_per_parent_setting: str | None = None  # the name of the setting that limits the rows of one parent row

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
            # A new device has revision 1, so a client that pulls the changes after 1 must get every row.
            models.CheckConstraint(condition=models.Q(revision__gte=2), name="%(class)s_revision_from_2")
        ]

    @classmethod
    def new(cls, **columns) -> Self:
        """Return an unsaved row with these columns, and defaults for the others.

        It does the same as `cls(**columns)`, which catches an exception for each column without a value.
        """
        values = [columns.pop(name) if name in columns else default() for name, default in defaults(cls)]
        if columns:
            raise TypeError(f"{cls.__name__} has no {', '.join(columns)}.")
        return cls(*values)

    def stamp(self) -> None:
        """Set the revision and the time of the open change set."""
        changes = open_change_set(self.device_id)
        self.revision = changes.revision
        if self._state.adding:
            changes.count_new(type(self))
            self.created_at = changes.tick()
        else:
            self.updated_at = changes.tick()

    def save(self, **kwargs) -> None:
        self.stamp()
        # Clients choose ids, so an insert must never turn into an update of another device's row.
        if self._state.adding:
            insert_row(self)
        elif not update_row(self, of="device"):
            raise DatabaseError(f"{self!r} does not exist, or belongs to another device.")

    def assign(self, **values) -> bool:
        """Assign the values that changed, and the columns derived from them. Return whether anything changed."""
        changed = {name: value for name, value in values.items() if getattr(self, name) != value}
        for name, value in changed.items():
            setattr(self, name, value)
        return bool(changed)

    def change(self, **values) -> bool:
        """Assign the values and save the row if anything changed. Return whether it did."""
        changed = self.assign(**values)
        if changed:
            self.save()
        return changed

    def find_ids_in_the_way(self, constraint: models.UniqueConstraint) -> list[uuid.UUID]:
        """Return the ids of the device's live rows that have this row's values in a unique constraint."""
        values = {name: getattr(self, self._meta.get_field(name).attname) for name in constraint.fields}
        if None in values.values():  # such rows never violate it
            return []
        rows = type(self).objects.for_device(self.device_id).filter(constraint.condition or models.Q(), **values)
        return list(rows.exclude(pk=self.pk).order_by("pk").values_list("pk", flat=True))

    def delete(self, **kwargs):
        """Permanently remove the row. Requests never do this: they call `soft_delete()`."""
        open_change_set(self.device_id)
        return super().delete(**kwargs)

    def soft_delete(self) -> None:
        self.deleted_at = open_change_set(self.device_id).started_at
        self.save()

    def restore(self) -> None:
        """Make the tombstone a live row again, with its old values. The client gets it with its next pull."""
        if self.deleted_at is None:
            raise Conflict("It is not deleted.")
        self.deleted_at = None
        self.save()


@cache
def defaults(model: type[DeviceOwned]) -> list[tuple[str, Callable]]:
    """Return the name of each column, and the function that returns its default."""
    return [(field.attname, field.get_default) for field in model._meta.concrete_fields]


def owned_models() -> list[type[DeviceOwned]]:
    return [model for model in apps.get_models() if issubclass(model, DeviceOwned)]
