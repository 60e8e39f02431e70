"""Remove the data of devices that are marked for erasure, in short transactions. A killed run can be repeated."""

import logging
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from time import monotonic, sleep

from django.db import connection, transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from account import ledger
from countonme.api.errors import InvalidToken
from countonme.db.bulk import in_batches
from countonme.db.vacuum import vacuum
from devices.models import Device, Erasure, Gap, hash_device_id
from ownership.models import owned_models
from support.models import AuditEntry, ChangedValues

BATCH = 500  # rows per statement, each in its own transaction

log = logging.getLogger(__name__)


@dataclass
class Outcome:
    """The result of a run."""

    erased: int = 0  # devices
    failed: int = 0
    removed: Counter = field(default_factory=Counter)  # rows by table


def erase_pending(*, pauses: bool = True) -> Outcome:
    """Erase each marked device. If one fails, log the error and go on with the next.

    After each batch, pause for as long as the batch took. This leaves at least half of the database's time to requests.
    """
    outcome = Outcome()
    for erasure in Erasure.objects.filter(erased_at=None).order_by("requested_at", "pk"):
        try:
            if erasure.device_id is not None:
                outcome.removed += remove_rows(erasure.device_id, pauses=pauses)
            complete(erasure)
        except Exception:
            log.exception("The erasure %s failed", erasure.pk)
            outcome.failed += 1
        else:
            outcome.erased += 1
    # Even if nothing was removed, because the last run may have been killed before this.
    vacuum([*owned_models(), ChangedValues, AuditEntry, Gap, Erasure, Device])
    return outcome


def remove_rows(device_id: uuid.UUID, *, pauses: bool) -> Counter:
    """Remove all rows of a marked device, children before parents. Return their number by table."""
    removed = Counter()
    for model in reversed(owned_models()):
        rows = model.all_objects.for_device(device_id)
        # Read all ids at once: a marked device gets no new rows, and no batch has to scan past removed rows.
        for ids in in_batches(list(rows.values_list("pk", flat=True)), BATCH):
            started = monotonic()
            with fast_foreign_key_checks():
                removed[model._meta.db_table] += rows.filter(pk__any_of=ids).erase()
            if pauses:
                sleep(monotonic() - started)
    return removed


@contextmanager
def fast_foreign_key_checks() -> Iterator[None]:
    """Open a transaction in which the foreign-key checks of removed rows are fast.

    For each portion and product, PostgreSQL checks in an index of the device's entries that none refers to it. A plain
    index scan marks the index entries of removed rows as dead, so that the next check skips them. Other scans visit all
    removed rows at each check: benchmarks/erasure.md.

    SQLite has no such index. Each check would read the entries of all devices. There the checks are off, which is safe:
    the referring rows have already been removed, and a marked device gets no new ones.
    """
    with connection.constraint_checks_disabled(), transaction.atomic():  # the former has no effect on PostgreSQL
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                for scan in ("enable_bitmapscan", "enable_seqscan"):
                    cursor.execute("SELECT set_config(%s, 'off', true)", [scan])
        yield


def complete(erasure: Erasure) -> None:
    """Remove the device's row and the rows that refer to it, and record the time in the receipt."""
    with transaction.atomic():
        # A concurrent request that adds a row for the device waits for this lock, and then fails.
        device = Device.objects.select_for_update().filter(pk=erasure.device_id).first()
        Erasure.objects.filter(pk=erasure.pk, erased_at=None).update(device=None, erased_at=timezone.now())
        if device is not None:
            device.delete()


def idle_devices(before: datetime) -> QuerySet:
    """Return the active devices that were last seen before a time, or registered before it and never stored a row.

    Blocked devices are excluded, because their `last_seen_at` is not updated.
    """
    wrote = Q(purged_through__gt=0)
    for model in owned_models():
        wrote |= Q(Exists(model.all_objects.for_device(OuterRef("pk"))))
    devices = Device.objects.active().filter(blocked_at=None)
    return devices.filter(Q(last_seen_at__lt=before) | (Q(created_at__lt=before) & ~wrote))


def mark_idle_devices(before: datetime) -> int:
    """Mark the idle devices for erasure. Return their number. Skip devices that send a request in the meantime."""
    idle, marked = idle_devices(before), 0
    for device_id in list(idle.order_by("pk").values_list("pk", flat=True)):
        try:
            Erasure.objects.request(device_id, uuid.uuid4(), among=idle)
        except InvalidToken:
            continue
        marked += 1
    return marked


def mark_from_ledger(entries: dict[str, ledger.Entry]) -> None:
    """Mark the devices that a restore brought back, by the ledger's entries.

    Each entry that the database lacks becomes an erasure. If the database lacks the device too, the erasure is complete
    at once. It keeps the id from being registered again, and the receipt can be read.
    """
    known = dict(Erasure.objects.values_list("device_hash", "pk").iterator())
    ids = set(known.values())
    missing = {device_hash: entry for device_hash, entry in entries.items() if device_hash not in known}
    devices = devices_by_hash(missing) if missing else {}
    now, erasures = timezone.now(), []
    for device_hash, entry in missing.items():
        device_id = devices.get(device_hash)
        erasure = Erasure(
            pk=uuid.uuid4() if entry.erasure_id in ids else entry.erasure_id,
            device_hash=device_hash,
            device_id=device_id,
            requested_at=entry.requested_at,
            erased_at=None if device_id else now,
        )
        ids.add(erasure.pk)
        erasures.append(erasure)
    with transaction.atomic():
        for batch in in_batches(list(devices.values()), BATCH):
            Device.objects.filter(pk__any_of=batch).mark_for_erasure(now)
        Erasure.objects.bulk_create(erasures, batch_size=BATCH)


def devices_by_hash(wanted: dict) -> dict[str, uuid.UUID]:
    """Return the ids of the devices whose hash is in `wanted`, by hash."""
    ids = Device.objects.values_list("pk", flat=True).iterator()
    return {device_hash: device_id for device_id in ids if (device_hash := hash_device_id(device_id)) in wanted}


def adopt_marked_devices() -> None:
    """Create an erasure for each marked device without one. An earlier release deleted devices without erasures."""
    for device in Device.objects.exclude(deleted_at=None).filter(erasure=None):
        Erasure.objects.get_or_create(
            device_hash=hash_device_id(device.pk),
            defaults={"pk": uuid.uuid4(), "device": device, "requested_at": device.deleted_at},
        )


def add_missing_to_ledger() -> bool:
    """Append the erasures that the ledger lacks. Return whether the ledger is complete."""
    try:
        ledger.create()
        listed = {entry.device_hash for entry in ledger.read() if entry}
    except OSError:
        log.exception(ledger.UNWRITABLE)
        return False
    erasures = Erasure.objects.order_by("requested_at").values_list("requested_at", "pk", "device_hash").iterator()
    return ledger.try_to_add([ledger.Entry(*columns) for columns in erasures if columns[2] not in listed])
