"""Devices, their erasures, backups and restores of the database, and rate-limited attempts."""

import hashlib
import json
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db import (
    DEFAULT_DB_ALIAS,
    IntegrityError,
    OperationalError,
    connection,
    connections,
    models,
    transaction,
)
from django.utils import timezone

from countonme.api.errors import Conflict, DeviceBlocked, InvalidToken, RegistrationClosed, id_taken
from countonme.observability import metrics
from devices import tokens

SEEN_EVERY = timedelta(minutes=15)
MAX_REMOVED = 100  # expired attempts per request. A request adds a few rows at most, so the backlog shrinks.
# Only change sets and the purge write these columns, under the device's lock.
COUNTERS = {"revision", "purged_through", "row_counts", "new_rows", "new_rows_day"}


def hash_device_id(device_id: UUID) -> str:
    """Return the SHA-256 of a device's id, as 64 hex digits. Nothing else remains of an erased device."""
    return hashlib.sha256(str(device_id).encode()).hexdigest()


def already_registered(device_id: UUID) -> Conflict:
    return Conflict("Device already registered", conflict=[device_id])


class DeviceQuerySet(models.QuerySet):
    def active(self):
        """Return the devices that are not marked for erasure."""
        return self.filter(deleted_at=None)

    def mark_for_erasure(self, at: datetime) -> int:
        """Hide the devices and invalidate their tokens. Return their number."""
        return self.update(deleted_at=at, token_hash="", next_token_hash=None)


class DeviceManager(models.Manager.from_queryset(DeviceQuerySet)):
    def register(self, device_id: UUID) -> str:
        """Create the device and return its token, which is stored nowhere.

        Raises Conflict if the id is registered or was erased. The primary key makes concurrent registrations safe.
        Raises RegistrationClosed if the operator accepts no new devices.
        """
        if self.filter(pk=device_id).exists():  # only to save the bcrypt run
            raise already_registered(device_id)
        if settings.REGISTER_RATE is None:
            raise RegistrationClosed
        token, secret_hash = tokens.issue(device_id)
        try:
            with transaction.atomic():
                self.create_registered(device_id, secret_hash)
        except IntegrityError as error:
            raise already_registered(device_id) from error
        tokens.remember_valid(token, secret_hash)
        return token

    def create_registered(self, device_id: UUID, secret_hash: str) -> None:
        """Insert a device. After a restore, its first revision is above all that may have been lost with the database.

        Raises Conflict if the id was erased. This is checked after the insert, because the `Erasure` is committed by
        then, even if the device's row was removed only a moment ago.
        """
        base = Restore.objects.newest_base()
        if base is None:
            self.create(pk=device_id, token_hash=secret_hash)
        else:
            self.create(pk=device_id, token_hash=secret_hash, revision=base)
            Gap.objects.create(device_id=device_id, after=0, before=base)
        if Erasure.objects.filter(device_hash=hash_device_id(device_id)).exists():
            raise already_registered(device_id)

    def next_revision(self, device_id: UUID) -> tuple[int, str, int, int] | None:
        """Lock the live device's row and return its next revision, `row_counts` (JSON), `new_rows` and `new_rows_day`.

        Return None if there is no such device. The ORM has no `UPDATE ... RETURNING`, which does this in one statement.
        """
        return self.fetch_row(
            "UPDATE devices SET revision = revision + 1 WHERE id = %s AND deleted_at IS NULL"
            " RETURNING revision, row_counts, new_rows, new_rows_day",
            [device_id],
        )

    def store_counters(self, device_id: UUID, row_counts: dict[str, int], new_rows: int, new_rows_day: int) -> None:
        """Write the counters of a device whose lock is held."""
        connection = connections[DEFAULT_DB_ALIAS]
        connection.execute_cached(
            "UPDATE devices SET row_counts = %s, new_rows = %s, new_rows_day = %s WHERE id = %s",
            [json.dumps(row_counts), new_rows, new_rows_day, connection.to_driver(device_id)],
        )

    def state(self, device_id: UUID, cursor: int) -> tuple[int, int, bool] | None:
        """Return the live device's revision, its `purged_through`, and whether a restore came after `cursor`.

        Return None if there is no such device. One statement reads all three.
        """
        return self.fetch_row(
            "SELECT revision, purged_through, EXISTS (SELECT 1 FROM gaps WHERE device_id = %s AND before > %s)"
            " FROM devices WHERE id = %s AND deleted_at IS NULL",
            [device_id, cursor, device_id],
        )

    def fetch_row(self, sql: str, params: list) -> tuple | None:
        connection = connections[DEFAULT_DB_ALIAS]
        return connection.execute_cached(sql, [connection.to_driver(param) for param in params]).fetchone()


class Device(models.Model):
    """An app on a phone, which calls the API. It has no user account."""

    id = models.UUIDField(primary_key=True, help_text="Chosen by the client.")
    token_hash = models.CharField(max_length=60, editable=False, help_text="bcrypt hash of the token's secret.")
    next_token_hash = models.CharField(  # noqa: DJ001 - null means that there is none
        max_length=60,
        null=True,
        editable=False,
        help_text="bcrypt hash of the next token's secret. Empty if no rotation is pending.",
    )
    revision = models.BigIntegerField(
        default=1, editable=False, help_text="Raised by each change set and each restore. 1 for a new device."
    )
    purged_through = models.BigIntegerField(
        default=0, editable=False, help_text="The highest revision of a purged tombstone. 0 if there was none."
    )
    row_counts = models.JSONField(
        default=dict,
        db_default=models.Value({}, models.JSONField()),
        editable=False,
        help_text="The number of stored rows by table, including deleted ones.",
    )
    new_rows = models.IntegerField(
        default=0,
        db_default=0,
        editable=False,
        help_text="The number of rows that were added on the day `new_rows_day`.",
    )
    new_rows_day = models.IntegerField(
        default=0,
        db_default=0,
        editable=False,
        help_text="The day that `new_rows` counts: days of 24 hours since the registration.",
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    last_seen_at = models.DateTimeField(
        default=timezone.now, editable=False, help_text="Updated at most every 15 minutes."
    )
    blocked_at = models.DateTimeField(
        null=True, editable=False, help_text="When support blocked the device. Empty if it is not blocked."
    )
    deleted_at = models.DateTimeField(
        null=True, blank=True, editable=False, help_text="When its erasure was requested. Empty if it was not."
    )

    objects = DeviceManager()

    is_authenticated = True  # DRF checks this attribute of `request.user`

    class Meta:
        db_table = "devices"
        constraints = [
            models.CheckConstraint(condition=models.Q(revision__gte=1), name="device_revision_from_1"),
            models.CheckConstraint(
                condition=models.Q(purged_through__gte=0, purged_through__lte=models.F("revision")),
                name="device_purged_through_a_revision_of_its_own",
            ),
        ]
        indexes = [
            models.Index(fields=["id"], condition=models.Q(blocked_at__isnull=False), name="device_blocked"),
        ]
        permissions = [
            ("block_device", "Can block and unblock device"),
            ("issue_token", "Can give device a new token"),
        ]

    def __str__(self) -> str:
        return str(self.pk)

    def save(self, **kwargs) -> None:
        """Write every column except the counters, because a stale instance would overwrite them."""
        if not self._state.adding:
            columns = kwargs.get("update_fields") or [f.name for f in self._meta.concrete_fields if not f.primary_key]
            kwargs["update_fields"] = [name for name in columns if name not in COUNTERS]
        super().save(**kwargs)

    def rotate(self) -> str:
        """Return a new token, which replaces the current one at its first use.

        Raises InvalidToken if the current token was replaced after it was checked. Raises DeviceBlocked if the device
        was blocked after that, because the token is still valid then.
        """
        token, secret_hash = tokens.issue(self.pk)
        same_token = Device.objects.filter(pk=self.pk, token_hash=self.token_hash, deleted_at=None)
        if not same_token.filter(blocked_at=None).update(next_token_hash=secret_hash):
            raise DeviceBlocked if same_token.exclude(blocked_at=None).exists() else InvalidToken
        return token

    def complete_rotation(self) -> bool:
        """Make the rotated token the only one. Return False if another request has changed the tokens in between."""
        rotated = Device.objects.filter(
            pk=self.pk, next_token_hash=self.next_token_hash, deleted_at=None, blocked_at=None
        )
        completed = rotated.update(token_hash=self.next_token_hash, next_token_hash=None)
        if completed:
            self.token_hash, self.next_token_hash = self.next_token_hash, None
        return bool(completed)

    def issue_token(self) -> str:
        """Return a new token. The old tokens of the device, including a rotated one, are invalid from now on."""
        token, secret_hash = tokens.issue(self.pk)
        if not Device.objects.filter(pk=self.pk, deleted_at=None).update(token_hash=secret_hash, next_token_hash=None):
            raise Conflict("The device is deleted.")
        return token

    def block(self) -> None:
        """Refuse the device's tokens from the next request on. Its rows are kept."""
        if not Device.objects.filter(pk=self.pk, deleted_at=None, blocked_at=None).update(blocked_at=timezone.now()):
            raise Conflict("The device is already blocked, or it is deleted.")

    def unblock(self) -> None:
        if not Device.objects.filter(pk=self.pk, deleted_at=None).exclude(blocked_at=None).update(blocked_at=None):
            raise Conflict("The device is not blocked, or it is deleted.")

    def update_last_seen(self) -> None:
        """Update `last_seen_at`, at most every 15 minutes. If the row is locked, leave it for the next request."""
        now = timezone.now()
        if now - self.last_seen_at < SEEN_EVERY:
            return
        with suppress(OperationalError), no_lock_wait(), transaction.atomic():
            free = Device.objects.filter(pk=self.pk).select_for_update(skip_locked=True, no_key=True)
            if Device.objects.filter(pk=self.pk, pk__in=free.values("pk")).update(last_seen_at=now):
                self.last_seen_at = now


class ErasureManager(models.Manager):
    def request(self, device_id: UUID, erasure_id: UUID, *, among: DeviceQuerySet | None = None) -> "Erasure":
        """Mark an active device for erasure, and return the receipt. Its token is refused from then on.

        `account.erasure` removes the rows later, so that this takes the same time for every device. Raises InvalidToken
        if there is no such device or it is not in `among`, and Conflict if the erasure's id is taken.
        """
        now = timezone.now()
        marked = Device.objects.active().filter(pk=device_id)
        with transaction.atomic():
            if among is not None:
                list(marked.select_for_update())  # wait for a running change set: its rows count
                marked = among.filter(pk=device_id)
            if not marked.mark_for_erasure(now):
                raise InvalidToken
            erasure = Erasure(
                pk=erasure_id, device_hash=hash_device_id(device_id), device_id=device_id, requested_at=now
            )
            try:
                erasure.save(force_insert=True)
            except IntegrityError as error:
                raise id_taken(erasure_id) from error
            return erasure


class Erasure(models.Model):
    """The erasure of a device. It is the receipt, and prevents that the device's id is registered again.

    `device` is set until all data of the device is removed. After that, only the hash remains.
    """

    id = models.UUIDField(primary_key=True, help_text="Chosen by the client; generated if omitted.")
    device_hash = models.CharField(max_length=64, help_text="The SHA-256 of the device's id.")
    device = models.OneToOneField(Device, null=True, on_delete=models.SET_NULL)
    requested_at = models.DateTimeField()
    erased_at = models.DateTimeField(null=True, help_text="When all its data had been removed. Empty until then.")

    objects = ErasureManager()

    class Meta:
        db_table = "erasures"
        constraints = [models.UniqueConstraint(fields=["device_hash"], name="erasure_is_the_devices_only_one")]
        indexes = [models.Index(fields=["requested_at"], condition=models.Q(erased_at=None), name="erasure_pending")]

    def __str__(self) -> str:
        return str(self.pk)


@metrics.gauge(
    "countonme_oldest_pending_erasure_timestamp_seconds",
    "Unix time of the oldest request for an erasure that is not complete. Missing if all are complete.",
)
def oldest_pending_erasure_timestamp() -> float | None:
    oldest = Erasure.objects.filter(erased_at=None).aggregate(oldest=models.Min("requested_at"))["oldest"]
    return oldest.timestamp() if oldest else None


class RestoreManager(models.Manager):
    def newest_base(self) -> int | None:
        return self.aggregate(newest=models.Max("base"))["newest"]

    def record(self, at: datetime) -> tuple["Restore", int]:
        """Record that the database was restored from a backup. Return the restore and the number of devices.

        This sets every device's revision above all revisions that were ever used, including those that the restore
        lost, and adds a gap for the revisions in between. It uses plain SQL because it affects all devices.

        Raises ValueError if the clock is behind a revision that is in use, because that could then be used twice.
        """
        base = int(at.timestamp() * 1_000_000)
        with transaction.atomic():
            highest = Device.objects.aggregate(highest=models.Max("revision"))["highest"] or 0
            if base <= max(highest, self.newest_base() or 0):
                raise ValueError("The clock is behind the last restore.")
            restore = self.create(base=base, created_at=at)
            with connection.cursor() as cursor:
                cursor.execute(
                    "INSERT INTO gaps (device_id, after, before) SELECT id, revision, %s FROM devices", [base]
                )
                cursor.execute("UPDATE devices SET revision = %s", [base])
                return restore, cursor.rowcount


class Restore(models.Model):
    """A restore of the database from a backup. `base` became the revision of all devices."""

    base = models.BigIntegerField(unique=True, help_text="The Unix time of the restore, in microseconds.")
    created_at = models.DateTimeField()

    objects = RestoreManager()

    class Meta:
        db_table = "restores"

    def __str__(self) -> str:
        return f"restored at {self.created_at}"


class Backup(models.Model):
    """A complete backup of the database. `deploy/backup.sh` inserts it with SQL."""

    started_at = models.DateTimeField()

    class Meta:
        db_table = "backups"

    def __str__(self) -> str:
        return f"started at {self.started_at}"


@metrics.gauge(
    "countonme_last_backup_timestamp_seconds",
    "Unix time at which the last complete backup of the database began. 0 if there was none.",
)
def last_backup_timestamp() -> float:
    last = Backup.objects.aggregate(last=models.Max("started_at"))["last"]
    return last.timestamp() if last else 0


class Gap(models.Model):
    """The revisions of a device that a restore may have lost: those between `after` and `before`, both excluded.

    A phone that pulled before the restore may have the only copy of the rows of these revisions. Its cursor does not
    show that, because a push does not move the cursor.
    """

    device = models.ForeignKey(Device, on_delete=models.CASCADE)
    after = models.BigIntegerField(
        help_text="The revision of the device in the backup. 0 if the device may be missing from the backup."
    )
    before = models.BigIntegerField(help_text="The `base` of the restore.")

    class Meta:
        db_table = "gaps"
        default_related_name = "gaps"

    def __str__(self) -> str:
        return f"between {self.after} and {self.before}"


@contextmanager
def no_lock_wait():
    """Make SQLite fail at once instead of waiting for another writer. It has one lock for the whole database."""
    if connection.vendor != "sqlite":
        yield
        return
    with connection.cursor() as cursor:
        (timeout,) = cursor.execute("PRAGMA busy_timeout").fetchone()
        cursor.execute("PRAGMA busy_timeout = 0")
        try:
            yield
        finally:
            cursor.execute(f"PRAGMA busy_timeout = {timeout:d}")


class AttemptsManager(models.Manager):
    def lock(self, key: str) -> "Attempts":
        """Return the attempts of one caller, locked until the transaction ends."""
        return self.select_for_update().get_or_create(key=key)[0]

    def remove_expired(self) -> None:
        """Remove all rows that no longer count, for the nightly job."""
        self.filter(expires_at__lt=timezone.now().timestamp()).delete()

    def remove_some_expired(self, before: float) -> None:
        """Remove up to MAX_REMOVED rows that no longer count. Skip locked rows."""
        with transaction.atomic():
            expired = self.filter(expires_at__lt=before).select_for_update(skip_locked=True)[:MAX_REMOVED]
            self.filter(pk__in=list(expired.values_list("pk", flat=True))).delete()


class Attempts(models.Model):
    """The recent rate-limited attempts of one caller, in the database because all workers share it.

    The moments of a wide tier are pairs of a Unix time and a number: `devices.throttling.Tier`.
    """

    key = models.CharField(
        primary_key=True, max_length=64, help_text="A keyed hash of the rate limit's name and the caller."
    )
    moments = models.JSONField(default=list, help_text="Unix times of the attempts, in seconds, the latest first.")
    expires_at = models.FloatField(
        default=0, db_index=True, help_text="The Unix time at which the last attempt stops counting."
    )

    objects = AttemptsManager()

    class Meta:
        db_table = "attempts"
        verbose_name_plural = "attempts"

    def __str__(self) -> str:
        return self.key
