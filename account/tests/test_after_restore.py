from io import StringIO
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection
from django.utils import timezone

from account import ledger as ledgers
from account.ledger import Entry
from account.tests.rows import add_rows, rows_of
from devices.models import Device, Erasure, Restore, hash_device_id


def run(*options: str) -> str:
    out = StringIO()
    call_command("after_restore", *options, stdout=out, stderr=out)
    return out.getvalue()


def listed(device) -> Entry:
    """Append the device to the ledger, as if it had been erased after the backup; return its entry."""
    entry = Entry(timezone.now().replace(microsecond=0), uuid4(), hash_device_id(device.pk))
    ledgers.append([entry])
    return entry


class TestAfterRestore:
    def test_erases_devices_that_the_ledger_lists(self, api, device, other_device):
        add_rows(device)
        add_rows(other_device)
        theirs = set(rows_of(other_device))
        listed(device)

        said = run()

        assert rows_of(device) == []
        assert Device.objects.get() == other_device
        assert set(rows_of(other_device)) == theirs
        assert api.get("/v1/devices/me").status_code == 401
        assert said.splitlines()[0] == "The ledger lists 1 erasure, in 1 file."
        assert said.splitlines()[-1] == "Completed 1 erasure."

    def test_restores_receipts(self, anonymous, device):
        entry = listed(device)
        elsewhere = Entry(entry.requested_at, uuid4(), hash_device_id(uuid4()))
        ledgers.append([elsewhere])

        run()

        for each in (entry, elsewhere):
            body = anonymous.get(f"/v1/erasures/{each.erasure_id}").json()
            assert body["requested_at"] == f"{each.requested_at:%Y-%m-%dT%H:%M:%S}.000000Z"
            assert body["erased_at"] is not None

    def test_reserves_the_id_of_an_erased_device_that_is_not_in_the_backup(self, anonymous, db):
        device = Device(pk=uuid4())
        listed(device)

        run()

        assert anonymous.post("/v1/auth/register", {"device_id": str(device.pk)}).status_code == 409

    def test_completes_an_erasure_that_is_unfinished_in_the_backup(self, device):
        add_rows(device)
        Erasure.objects.request(device.pk, uuid4())

        run("--without-ledger")

        assert rows_of(device) == []
        assert Erasure.objects.get().erased_at is not None

    def test_does_not_change_an_erasure_that_is_in_the_backup(self, api, erase, ledger):
        api.delete("/v1/devices/me")
        erase()
        before = list(Erasure.objects.values())

        run()

        assert list(Erasure.objects.values()) == before

    def test_reads_additional_ledgers(self, device, other_device, tmp_path):
        listed(device)
        copy = tmp_path / "copy.txt"
        copy.write_text(f"{Entry(timezone.now(), uuid4(), hash_device_id(other_device.pk))}\n")

        run("--ledger", str(copy))

        assert not Device.objects.exists()
        assert {entry.device_hash for entry in ledgers.read()} == {
            hash_device_id(device.pk),
            hash_device_id(other_device.pk),
        }

    def test_is_safe_to_run_twice(self, device):
        listed(device)

        run()
        run()

        assert not Device.objects.exists()
        assert Erasure.objects.count() == 1

    def test_gives_a_receipt_another_id_if_its_own_is_taken(self, device, other_device):
        entry = listed(device)
        Erasure.objects.request(other_device.pk, entry.erasure_id)

        run()

        assert not Device.objects.exists()
        assert Erasure.objects.count() == 2

    def test_reports_the_number_of_invalid_lines(self, device, ledger):
        listed(device)
        ledger.write_text(f"nonsense\n{ledger.read_text()}2026-01-05T0")

        said = run()

        assert not Device.objects.exists()
        assert said.splitlines()[1] == "Ignored 2 lines of the ledger that can't be read."

    def test_adds_many_erasures_in_few_queries(self, device, django_assert_max_num_queries, ledger):
        now = timezone.now()
        ledgers.append([Entry(now, uuid4(), hash_device_id(uuid4())) for _ in range(1000)])

        with django_assert_max_num_queries(30):
            run()

        assert Erasure.objects.exclude(erased_at=None).count() == 1000


class TestMissingLedger:
    @pytest.mark.parametrize("content", [None, "", "\n"])
    def test_stops_the_command_before_it_changes_anything(self, device, ledger, content):
        if content is not None:
            ledger.write_text(content)

        with pytest.raises(CommandError, match=r"There is no ledger of erasures at .*add --without-ledger"):
            run()

        assert not Restore.objects.exists()

    def test_is_accepted_with_the_option(self, device):
        run("--without-ledger")

        assert Restore.objects.exists()

    def test_is_not_assumed_because_of_the_option(self, device):
        listed(device)

        run("--without-ledger")

        assert not Device.objects.exists()

    def test_stops_the_command_if_it_is_an_additional_one(self, device, tmp_path):
        listed(device)

        with pytest.raises(CommandError, match="can't be read"):
            run("--ledger", str(tmp_path / "missing.txt"))

        assert Device.objects.filter(deleted_at=None).exists()
        assert not Restore.objects.exists()

    def test_stops_the_command_if_only_another_user_can_read_it(self, device, monkeypatch):
        def refuse(path, *args, **kwargs):
            raise PermissionError(13, "Permission denied", str(path))

        monkeypatch.setattr("account.management.commands.after_restore.Path.exists", refuse)

        with pytest.raises(CommandError, match=r"Permission denied: '\S+'\. Run this as the user of the service: .*$"):
            run()

        assert not Restore.objects.exists()


class TestDatabaseThatRefusesTheUser:
    def test_stops_the_command_with_one_line(self, device, monkeypatch):
        listed(device)

        def refuse():
            raise OperationalError('connection failed:\nFATAL:  role "root" does not exist')

        with monkeypatch.context() as patch, pytest.raises(CommandError) as raised:
            patch.setattr(connection, "ensure_connection", refuse)
            run()

        assert str(raised.value) == (
            'The database can\'t be reached: connection failed: FATAL: role "root" does not exist. '
            "Run this as the user of the service: on a bare host, with `sudo -u countonme`."
        )
