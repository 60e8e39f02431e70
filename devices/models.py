import hashlib
import json
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from uuid import UUID

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

from countonme.api.errors import Conflict, DeviceBlocked, InvalidToken
from devices import tokens

SEEN_EVERY = timedelta(minutes=15)
FORGOTTEN_AT_ONCE = 100  # attempts: each time one row at most is added, so that they get fewer
# What only the change set and the purge write, under the device's lock.
COUNTERS = {"revision", "purged_through", "row_counts", "new_rows", "new_rows_day"}


def hash_of(device_id: UUID) -> str:
    """Return the SHA-256 of a device's id, as 64 hex digits: all that is kept of an erased device."""
    return hashlib.sha256(str(device_id).encode()).hexdigest()


class DeviceQuerySet(models.QuerySet):
    def active(self):
        """Return the devices that are not marked for erasure."""
        return self.filter(deleted_at=None)

    def mark_for_erasure(self, at: datetime) -> int:
        """Hide the devices and have their tokens refused; return their number."""
        return self.update(deleted_at=at, token_hash="", next_token_hash=None)


class DeviceManager(models.Manager.from_queryset(DeviceQuerySet)):
    def register(self, device_id: UUID) -> str:
        """Create the device and return its token, which exists nowhere else from then on.

        Raises Conflict for an id that is known, or was erased. The primary key decides between two at once.
        """
        if self.filter(pk=device_id).exists():  # spares the bcrypt run; decides nothing
            raise Conflict("Device already registered")
        token, secret_hash = tokens.issue(device_id)
        try:
            with transaction.atomic():
                self.start(device_id, secret_hash)
        except IntegrityError as error:
            raise Conflict("Device already registered") from error
        tokens.remember_good(token, secret_hash)
        return token

    def start(self, device_id: UUID, secret_hash: str) -> None:
        """Store a device. After a restore, which may have lost it, it counts from where no number was given before.

        Raises Conflict for an id that was erased. This is checked after the insert. By then the `Erasure` is committed,
        even if the device's row has only just been removed.
        """
        base = Restore.objects.newest_base()
        if base is None:
            self.create(pk=device_id, token_hash=secret_hash)
        else:
            self.create(pk=device_id, token_hash=secret_hash, revision=base)
            Gap.objects.create(device_id=device_id, after=0, before=base)
        if Erasure.objects.filter(device_hash=hash_of(device_id)).exists():
            raise Conflict("Device already registered")

    def next_revision(self, device_id: UUID) -> tuple[int, str, int, int] | None:
        """Lock the live device's row and return its next revision, `row_counts` (JSON), `new_rows` and `new_rows_day`.

        Return None if there is no such device. One statement, which the ORM can't say: it locks, adds and returns.
        """
        return self.fetched(
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

        One statement for all three; None if there is no such device.
        """
        return self.fetched(
            "SELECT revision, purged_through, EXISTS (SELECT 1 FROM gaps WHERE device_id = %s AND before > %s)"
            " FROM devices WHERE id = %s AND deleted_at IS NULL",
            [device_id, cursor, device_id],
        )

    def fetched(self, sql: str, params: list) -> tuple | None:
        connection = connections[DEFAULT_DB_ALIAS]
        return connection.execute_cached(sql, [connection.to_driver(param) for param in params]).fetchone()


class Device(models.Model):
    """A phone: who is calling. It is its own account; there is no user behind it."""

    id = models.UUIDField(primary_key=True, help_text="Made by the phone.")
    token_hash = models.CharField(max_length=60, editable=False, help_text="bcrypt hash of the token's secret.")
    next_token_hash = models.CharField(  # noqa: DJ001 - null says that there is none
        max_length=60, null=True, editable=False, help_text="Of a rotated token, until its first use."
    )
    revision = models.BigIntegerField(
        default=1, editable=False, help_text="Counts the change sets of its rows. The first one gets 2."
    )
    purged_through = models.BigIntegerField(
        default=0, editable=False, help_text="The highest revision of a tombstone that was removed for good."
    )
    row_counts = models.JSONField(
        default=dict,
        db_default=models.Value({}, models.JSONField()),
        editable=False,
        help_text="How many rows are stored, by table, deleted ones included.",
    )
    new_rows = models.IntegerField(
        default=0, db_default=0, editable=False, help_text="How many rows were added on the day `new_rows_day`."
    )
    new_rows_day = models.IntegerField(
        default=0, db_default=0, editable=False, help_text="Days of 24 hours since the registration."
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    last_seen_at = models.DateTimeField(default=timezone.now, editable=False, help_text="To a quarter of an hour.")
    blocked_at = models.DateTimeField(null=True, editable=False, help_text="Since when support has its tokens refused.")
    deleted_at = models.DateTimeField(
        null=True, blank=True, editable=False, help_text="When its erasure was requested. From then on it is hidden."
    )

    objects = DeviceManager()

    is_authenticated = True  # DRF asks this of whoever an authentication class returns

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
        """Write every column but the counters: a stale instance would take them back."""
        if not self._state.adding:
            columns = kwargs.get("update_fields") or [f.name for f in self._meta.concrete_fields if not f.primary_key]
            kwargs["update_fields"] = [name for name in columns if name not in COUNTERS]
        super().save(**kwargs)

    def rotate(self) -> str:
        """Return a new token, which replaces the present one at its first use.

        Raises InvalidToken if the present token has been replaced since it was checked, and DeviceBlocked if the
        device has been blocked since then: the token is still good.
        """
        token, secret_hash = tokens.issue(self.pk)
        same_token = Device.objects.filter(pk=self.pk, token_hash=self.token_hash, deleted_at=None)
        if not same_token.filter(blocked_at=None).update(next_token_hash=secret_hash):
            raise DeviceBlocked if same_token.exclude(blocked_at=None).exists() else InvalidToken
        return token

    def settle(self) -> bool:
        """Make the rotated token the only one; False if another request has changed the tokens meanwhile."""
        rotated = Device.objects.filter(
            pk=self.pk, next_token_hash=self.next_token_hash, deleted_at=None, blocked_at=None
        )
        settled = rotated.update(token_hash=self.next_token_hash, next_token_hash=None)
        if settled:
            self.token_hash, self.next_token_hash = self.next_token_hash, None
        return bool(settled)

    def issue_token(self) -> str:
        """Return a new token. Those that the device had, a rotated one too, are refused from now on."""
        token, secret_hash = tokens.issue(self.pk)
        if not Device.objects.filter(pk=self.pk, deleted_at=None).update(token_hash=secret_hash, next_token_hash=None):
            raise Conflict("The device is deleted.")
        return token

    def block(self) -> None:
        """Have the device's tokens refused, from the next request on. What it keeps stays."""
        if not Device.objects.filter(pk=self.pk, deleted_at=None, blocked_at=None).update(blocked_at=timezone.now()):
            raise Conflict("The device is already blocked, or it is deleted.")

    def unblock(self) -> None:
        if not Device.objects.filter(pk=self.pk, deleted_at=None).exclude(blocked_at=None).update(blocked_at=None):
            raise Conflict("The device is not blocked, or it is deleted.")

    def seen(self) -> None:
        """Note that the device called, at most every 15 minutes. A row that is locked is left for the next call."""
        now = timezone.now()
        if now - self.last_seen_at < SEEN_EVERY:
            return
        with suppress(OperationalError), without_waiting(), transaction.atomic():
            free = Device.objects.filter(pk=self.pk).select_for_update(skip_locked=True, no_key=True)
            if Device.objects.filter(pk=self.pk, pk__in=free.values("pk")).update(last_seen_at=now):
                self.last_seen_at = now


class ErasureManager(models.Manager):
    def request(self, device_id: UUID, erasure_id: UUID, *, among: DeviceQuerySet | None = None) -> "Erasure":
        """Mark an active device for erasure, and return the receipt. Its token is refused from then on.

        Its rows are left for `account.erasure`, so that this takes the same time for every device. Raises InvalidToken
        if there is no such device, or it is not `among` these; IntegrityError if the erasure's id is taken.
        """
        now = timezone.now()
        marked = Device.objects.active().filter(pk=device_id)
        with transaction.atomic():
            if among is not None:
                list(marked.select_for_update())  # a change set that is under way ends first: what it wrote counts
                marked = among.filter(pk=device_id)
            if not marked.mark_for_erasure(now):
                raise InvalidToken
            return self.create(pk=erasure_id, device_hash=hash_of(device_id), device_id=device_id, requested_at=now)


class Erasure(models.Model):
    """The erasure of a device: a receipt, and what keeps its id from being registered again.

    It has the device until all of the device's data is removed. Nothing else then says which device it was.
    """

    id = models.UUIDField(primary_key=True, help_text="Chosen by the client; generated if omitted.")
    device_hash = models.CharField(max_length=64, help_text="The SHA-256 of the device's id.")
    device = models.OneToOneField(Device, null=True, on_delete=models.SET_NULL)
    requested_at = models.DateTimeField()
    erased_at = models.DateTimeField(null=True, help_text="When the last of its data was removed.")

    objects = ErasureManager()

    class Meta:
        db_table = "erasures"
        constraints = [models.UniqueConstraint(fields=["device_hash"], name="erasure_is_the_devices_only_one")]
        indexes = [models.Index(fields=["requested_at"], condition=models.Q(erased_at=None), name="erasure_pending")]

    def __str__(self) -> str:
        return str(self.pk)


class RestoreManager(models.Manager):
    def newest_base(self) -> int | None:
        return self.aggregate(newest=models.Max("base"))["newest"]

    def record(self, at: datetime) -> tuple["Restore", int]:
        """Take note that the database was restored from a backup; return the restore, and of how many devices.

        Every device's counter is lifted above all that was ever given out, in this time line or in one that was lost,
        and the numbers in between become a gap. In plain SQL, since it is about all devices at once.

        Raises ValueError where the clock is behind a number that was given out: it would be given out again.
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
    """A return of the database to a backup, and the number from which all devices count since."""

    base = models.BigIntegerField(unique=True, help_text="Its unix time, in microseconds.")
    created_at = models.DateTimeField()

    objects = RestoreManager()

    class Meta:
        db_table = "restores"

    def __str__(self) -> str:
        return f"restored at {self.created_at}"


class Gap(models.Model):
    """Revisions of a device that a restore lost, or may have lost: those between two, both excluded.

    A phone that pulled before the restore may be the only place where the rows of that time still are, whatever its
    cursor: a push does not move that.
    """

    device = models.ForeignKey(Device, on_delete=models.CASCADE)
    after = models.BigIntegerField(help_text="The revision in the backup; 0 of a device that may not have been in it.")
    before = models.BigIntegerField(help_text="The restore's base.")

    class Meta:
        db_table = "gaps"
        default_related_name = "gaps"

    def __str__(self) -> str:
        return f"between {self.after} and {self.before}"


@contextmanager
def without_waiting():
    """Let SQLite, which has one lock for everything, fail at once where it would wait for another writer."""
    if connection.vendor != "sqlite":
        yield
        return
    with connection.cursor() as cursor:
        (patience,) = cursor.execute("PRAGMA busy_timeout").fetchone()
        cursor.execute("PRAGMA busy_timeout = 0")
        try:
            yield
        finally:
            cursor.execute(f"PRAGMA busy_timeout = {patience:d}")


class AttemptsManager(models.Manager):
    def locked(self, key: str) -> "Attempts":
        """Return the attempts of one caller, held until the transaction ends."""
        return self.select_for_update().get_or_create(key=key)[0]

    def remove_expired(self) -> None:
        """Remove all that no longer counts. For the nightly job: requests remove a few rows each, or none."""
        self.filter(expires_at__lt=timezone.now().timestamp()).delete()

    def forget(self, before: float) -> None:
        """Remove what no longer counts. A row in use is left for the next time, and so is what is more than a few."""
        with transaction.atomic():
            expired = self.filter(expires_at__lt=before).select_for_update(skip_locked=True)[:FORGOTTEN_AT_ONCE]
            self.filter(pk__in=list(expired.values_list("pk", flat=True))).delete()


class Attempts(models.Model):
    """When one caller did what is limited. It lives in the database, which all workers share and which is there.

    The moments of a wide tier are pairs of a unix time and a number: `devices.throttling.Tier`.
    """

    key = models.CharField(primary_key=True, max_length=64, help_text="A keyed hash of what is limited, and whom.")
    moments = models.JSONField(default=list, help_text="Unix times, in seconds, the latest first.")
    expires_at = models.FloatField(default=0, db_index=True, help_text="Unix time from which none of them counts.")

    objects = AttemptsManager()

    class Meta:
        db_table = "attempts"
        verbose_name_plural = "attempts"

    def __str__(self) -> str:
        return f"{len(self.moments)} attempts"
