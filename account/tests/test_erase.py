from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from threading import Event
from time import sleep
from uuid import UUID, uuid4

import pytest
from django.contrib.admin.models import LogEntry
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from account import erasure as erasures
from account.tests.rows import add_rows, rows_of
from devices.models import Attempts, Device, Erasure, Gap, Restore, hash_device_id
from ownership.models import OwnedQuerySet, change_set, owned_models
from products.models import Product
from tests.harness.at_once import at_once
from tests.harness.servers import manage, migrate, our_environment
from tests.harness.service import serve

LONG_AGO = timedelta(days=800)


def mark(device) -> Erasure:
    return Erasure.objects.request(device.pk, uuid4())


def contents(folder: Path) -> bytes:
    """Return the bytes of all files of the database."""
    return b"".join(file.read_bytes() for file in folder.glob("db.sqlite3*"))


def other_scans() -> list[str]:
    """Return whether PostgreSQL may use bitmap scans and sequential scans."""
    with connection.cursor() as cursor:
        return [cursor.execute(f"SHOW {name}").fetchone()[0] for name in ("enable_bitmapscan", "enable_seqscan")]


def checks_foreign_keys() -> bool:
    with connection.cursor() as cursor:
        return bool(cursor.execute("PRAGMA foreign_keys").fetchone()[0])


class Killed(BaseException):
    pass


@contextmanager
def killed_at(nth: int) -> Iterator[None]:
    """Raise `Killed` before the nth statement that writes."""
    written = 0

    def execute(run, sql, params, many, context):
        nonlocal written
        if sql.startswith(("DELETE", "UPDATE")):
            written += 1
            if written == nth:
                raise Killed
        return run(sql, params, many, context)

    with connection.execute_wrapper(execute):
        yield


class TestErase:
    def test_removes_all_rows_and_the_device(self, device, other_device, erase):
        for each in (device, other_device):
            add_rows(each)
        theirs = set(rows_of(other_device))
        mark(device)

        said = erase()

        assert rows_of(device) == []
        assert not Device.objects.filter(pk=device.pk).exists()
        assert said.startswith("Erased 1 device: removed ")
        assert {"1 food entry", "3 portions", "2 products"} <= set(said.partition("removed ")[2][:-2].split(", "))
        assert set(rows_of(other_device)) == theirs

    def test_removes_deleted_rows_too(self, device, erase):
        add_rows(device)
        with change_set(device):
            for product in Product.objects.for_device(device):
                product.soft_delete()
        mark(device)

        erase()

        assert rows_of(device) == []

    def test_keeps_the_hash_of_the_id_and_nothing_else(self, device, erase):
        receipt = mark(device)
        earliest = timezone.now()

        erase()

        (kept,) = Erasure.objects.values()
        assert earliest <= kept.pop("erased_at") <= timezone.now()
        assert kept == {
            "id": receipt.pk,
            "device_hash": hash_device_id(device.pk),
            "device_id": None,
            "requested_at": receipt.requested_at,
        }

    def test_removes_the_gaps_of_the_device(self, device, erase):
        Restore.objects.record(timezone.now())
        mark(device)

        erase()

        assert not Gap.objects.exists()

    def test_removes_no_rows_of_unmarked_devices(self, device, erase):
        add_rows(device)
        rows = set(rows_of(device))

        said = erase()

        assert set(rows_of(device)) == rows
        assert said == "Erased 0 devices: removed no rows.\n"

    def test_removes_many_rows_in_batches(self, device, erase, monkeypatch):
        monkeypatch.setattr(erasures, "BATCH", 2)
        add_rows(device)
        rows = len(rows_of(device))
        mark(device)
        removed, remove = [], OwnedQuerySet.erase
        monkeypatch.setattr(OwnedQuerySet, "erase", lambda rows: removed.append(remove(rows)) or removed[-1])

        erase()

        assert (max(removed), sum(removed)) == (2, rows)

    def test_continues_with_the_next_device_if_one_fails(self, device, other_device, erase, monkeypatch, log):
        for each in (device, other_device):
            add_rows(each)
        failing = mark(device)
        mark(other_device)
        remove_rows = erasures.remove_rows

        def fail(device_id, **kwargs):
            if device_id == device.pk:
                raise RuntimeError
            return remove_rows(device_id, **kwargs)

        monkeypatch.setattr(erasures, "remove_rows", fail)

        with pytest.raises(CommandError, match="1 erasure failed"):
            erase()

        assert Device.objects.get() == device
        assert f"The erasure {failing.pk} failed" in log.getvalue()

    def test_removes_entries_of_djangos_admin_log(self, device, admin_user, erase):
        LogEntry.objects.create(user=admin_user, object_id=str(device.pk), object_repr="Insulin shake", action_flag=2)

        erase()

        assert not LogEntry.objects.exists()

    @pytest.mark.postgres
    @pytest.mark.django_db(transaction=True)
    def test_removes_rows_by_plain_index_scans_only(self, device, erase, monkeypatch):
        add_rows(device)
        mark(device)
        during, remove = [], OwnedQuerySet.erase
        monkeypatch.setattr(OwnedQuerySet, "erase", lambda rows: during.append(other_scans()) or remove(rows))

        erase()

        assert set(map(tuple, during)) == {("off", "off")}
        assert other_scans() == ["on", "on"]

    @pytest.mark.skipif(connection.vendor != "sqlite", reason="PostgreSQL checks them by an index")
    @pytest.mark.django_db(transaction=True)
    def test_checks_no_foreign_keys_on_sqlite_while_it_removes_rows(self, device, erase, monkeypatch):
        add_rows(device)
        mark(device)
        during, remove = [], OwnedQuerySet.erase
        monkeypatch.setattr(OwnedQuerySet, "erase", lambda rows: during.append(checks_foreign_keys()) or remove(rows))

        erase()

        assert set(during) == {False}
        assert checks_foreign_keys()

    def test_removes_rows_after_those_that_refer_to_them(self):
        models = list(reversed(owned_models()))

        for place, model in enumerate(models):
            for field in model._meta.concrete_fields:
                if field.is_relation and field.related_model in models:
                    assert place < models.index(field.related_model)

    def test_completes_an_erasure_that_has_no_device(self, db, erase):
        Erasure.objects.create(pk=uuid4(), device_hash=hash_device_id(uuid4()), requested_at=timezone.now())

        erase()

        assert Erasure.objects.get().erased_at is not None

    def test_adds_an_erasure_for_a_device_that_an_earlier_release_deleted(self, device, erase, ledger):
        add_rows(device)
        Device.objects.filter(pk=device.pk).update(deleted_at=timezone.now())

        erase()

        assert rows_of(device) == []
        assert Erasure.objects.get().device_hash == hash_device_id(device.pk)
        assert hash_device_id(device.pk) in ledger.read_text()

    def test_erases_one_device_by_its_id(self, device, other_device, erase):
        add_rows(device)

        said = erase("--device", str(device.pk))

        assert rows_of(device) == []
        assert said.splitlines()[0] == f"The receipt is /v1/erasures/{Erasure.objects.get().pk}."
        assert Device.objects.get() == other_device

    def test_refuses_an_unknown_id(self, device, erase):
        for device_id in (uuid4(), mark(device).device_id):
            with pytest.raises(CommandError, match="There is no such device"):
                erase("--device", str(device_id))

    def test_removes_expired_attempts(self, db, erase):
        now = timezone.now().timestamp()
        Attempts.objects.create(key="old", expires_at=now - 1)
        Attempts.objects.create(key="new", expires_at=now + 60)

        erase()

        assert Attempts.objects.get().key == "new"


@pytest.mark.django_db(transaction=True)
class TestDatabaseFiles:
    @pytest.mark.skipif(connection.vendor != "sqlite", reason="looks into SQLite's files")
    def test_contain_no_removed_rows(self, tmp_path):
        url = f"sqlite:///{tmp_path / 'db.sqlite3'}"
        migrate(url)
        with serve(url, tmp_path / "log", ERASURE_LEDGER=str(tmp_path / "ledger.txt")) as service:
            device_id = service.register()
            for _ in range(300):
                assert service.phone.post("/v1/products", {"name": "Insulin shake", "kcal_100g": 1}).status_code == 201
            assert service.phone.send("DELETE", "/v1/devices/me").status_code == 204
            empty_id = service.register()
            assert service.phone.send("DELETE", "/v1/devices/me").status_code == 204
            before = contents(tmp_path)

            manage(our_environment(url), "erase")

            after = contents(tmp_path)
        for trace in (b"Insulin shake", *(UUID(pk).hex.encode() for pk in (device_id, empty_id))):
            assert trace not in after
        assert b"Insulin shake" in before
        assert UUID(device_id).hex.encode() in before

    @pytest.mark.postgres
    def test_are_vacuumed(self, device, erase):
        add_rows(device)
        mark(device)

        erase()

        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_stat_force_next_flush()")
            cursor.execute("SELECT relname FROM pg_stat_user_tables WHERE last_vacuum IS NOT NULL")
            vacuumed = {name for (name,) in cursor.fetchall()}
        assert {"audit_log", "devices", "erasures", "food_entries", "gaps", "portions", "products"} <= vacuumed


@pytest.mark.django_db(transaction=True)
class TestKilledErasure:
    def test_continues_at_the_next_run(self, device, other_device, erase, monkeypatch):
        """Whichever statement is the last one, the next run completes the erasure."""
        monkeypatch.setattr(erasures, "BATCH", 2)
        add_rows(other_device)
        theirs = set(rows_of(other_device))
        for nth in range(1, 100):
            erased = Device.objects.create(pk=uuid4(), token_hash="x")
            add_rows(erased)
            receipt = mark(erased)
            try:
                with killed_at(nth):
                    erase()
            except Killed:
                erase()
            else:
                break

            receipt.refresh_from_db()
            assert receipt.erased_at is not None
            assert rows_of(erased.pk) == []
            assert not Device.objects.filter(pk=erased.pk).exists()

        assert nth > 8
        assert set(rows_of(other_device)) == theirs

    def test_is_not_shown_as_complete(self, anonymous, device, erase):
        add_rows(device)
        receipt = mark(device)

        with pytest.raises(Killed), killed_at(2):
            erase()

        assert anonymous.get(f"/v1/erasures/{receipt.pk}").json()["erased_at"] is None


class TestLedger:
    def test_gets_missing_lines(self, device, other_device, erase, ledger):
        first, second = mark(device), mark(other_device)

        erase()
        erase()

        lines = ledger.read_text().splitlines()
        assert [line.split()[1:] for line in lines] == [
            [str(first.pk), hash_device_id(device.pk)],
            [str(second.pk), hash_device_id(other_device.pk)],
        ]

    def test_is_created_if_nothing_was_erased(self, db, erase, ledger):
        erase()

        assert ledger.read_text() == ""
        assert ledger.stat().st_mode & 0o777 == 0o600

    def test_makes_the_command_fail_at_the_end_if_it_can_not_be_written(self, device, erase, settings):
        settings.ERASURE_LEDGER = "/nowhere/erasures.txt"
        mark(device)

        with pytest.raises(CommandError, match="ledger can't be written"):
            erase()

        assert not Device.objects.exists()


class TestIdleDevices:
    @pytest.fixture
    def devices(self, device, other_device) -> dict[str, Device]:
        """One of each kind; `device` and `other_device` are new."""
        ages = {
            "unseen": {"last_seen_at": LONG_AGO, "created_at": LONG_AGO},
            "never wrote": {"created_at": LONG_AGO},
            "in use": {"created_at": LONG_AGO},
        }
        now, made = timezone.now(), {"new": device, "new with rows": other_device}
        for kind, columns in ages.items():
            made[kind] = Device.objects.create(pk=uuid4(), **{name: now - age for name, age in columns.items()})
        for kind in ("unseen", "in use", "new with rows"):
            add_rows(made[kind])
        made["blocked"] = Device.objects.create(pk=uuid4(), last_seen_at=now - LONG_AGO, blocked_at=now)
        # All that it wrote has been deleted and purged.
        made["purged"] = Device.objects.create(pk=uuid4(), created_at=now - LONG_AGO, revision=9, purged_through=8)
        return made

    def test_are_only_counted_without_commit(self, devices, erase, all_rows):
        before = all_rows()

        said = erase("--idle", "730d")

        assert all_rows() == before
        assert said == (
            "Devices that have not been seen for 730 days: 1.\n"
            "Other devices that registered more than 730 days ago and never stored a row: 1.\n"
            "Nothing has been changed. Add --commit to erase them.\n"
        )

    def test_are_erased_with_commit(self, devices, erase, ledger):
        said = erase("--idle", "730d", "--commit")

        left = set(Device.objects.values_list("pk", flat=True))
        assert left == {devices[kind].pk for kind in ("new", "new with rows", "in use", "blocked", "purged")}
        assert rows_of(devices["unseen"]) == []
        assert said.splitlines()[0] == "Marked 2 idle devices."
        assert len(ledger.read_text().splitlines()) == 2

    def test_are_skipped_if_they_send_a_request_meanwhile(self, devices, erase, monkeypatch):
        request = Erasure.objects.request

        def call_first(device_id, *args, **kwargs):
            Device.objects.filter(pk=device_id).update(last_seen_at=timezone.now(), created_at=timezone.now())
            return request(device_id, *args, **kwargs)

        monkeypatch.setattr(Erasure.objects, "request", call_first)

        said = erase("--idle", "730d", "--commit")

        assert Device.objects.filter(deleted_at=None).count() == len(devices)
        assert said.splitlines()[0] == "Marked 0 idle devices."

    @pytest.mark.postgres
    @pytest.mark.django_db(transaction=True)
    def test_are_skipped_if_they_write_concurrently(self, device, erase):
        Device.objects.filter(pk=device.pk).update(created_at=timezone.now() - LONG_AGO)
        writing, marked = Event(), []

        def write():
            with change_set(device):
                Product.objects.add(device, name="Rye", kcal_100g=259)
                writing.set()
                sleep(0.5)  # the other connection waits for the device's lock

        def mark_idle():
            writing.wait(10)
            marked.append(erasures.mark_idle_devices(timezone.now() - timedelta(days=730)))

        at_once(write, mark_idle)

        assert marked == [0]
        assert Device.objects.get().deleted_at is None

    @pytest.mark.parametrize("text", ["", "730", "-1d", "1.5d", "d", "100000d", "730d "])
    def test_require_a_number_of_days(self, db, text):
        with pytest.raises(CommandError, match="--idle"):
            call_command("erase", f"--idle={text}")

    def test_require_at_least_one_day(self, device):
        with pytest.raises(CommandError, match="at least 1d"):
            call_command("erase", "--idle=0d", "--commit")

        assert Device.objects.get().deleted_at is None

    def test_can_not_be_combined_with_one_device(self, device):
        with pytest.raises(CommandError, match="not allowed with"):
            call_command("erase", "--idle=730d", f"--device={device.pk}")


class TestIdOfAnErasedRow:
    def test_can_be_used_again(self, api, other_api, erase):
        sent = {"id": str(uuid4()), "name": "Rye", "kcal_100g": 259}
        api.post("/v1/products", sent)
        api.delete("/v1/devices/me")
        taken = other_api.post("/v1/products", sent)
        erase()

        response = other_api.post("/v1/products", sent)

        assert (taken.status_code, response.status_code) == (409, 201)
        assert Product.objects.for_device(other_api.token.partition(".")[0]).count() == 1
