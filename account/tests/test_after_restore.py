from io import StringIO
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command
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


class TestAfterARestore:
    def test_erases_again_what_the_ledger_lists(self, api, device, other_device):
        add_rows(device)
        add_rows(other_device)
        theirs = set(rows_of(other_device))
        listed(device)

        said = run()

        assert rows_of(device) == []
        assert Device.objects.get() == other_device
        assert set(rows_of(other_device)) == theirs
        assert api.get("/v1/devices/me").status_code == 401
        assert said.splitlines()[0] == "The ledger lists 1 erasures, in 1 files."
        assert said.splitlines()[-1] == "Completed 1 erasures."

    def test_brings_the_receipts_back(self, anonymous, device):
        entry = listed(device)
        elsewhere = Entry(entry.requested_at, uuid4(), hash_device_id(uuid4()))
        ledgers.append([elsewhere])

        run()

        for each in (entry, elsewhere):
            body = anonymous.get(f"/v1/erasures/{each.erasure_id}").json()
            assert body["requested_at"] == each.requested_at.isoformat().replace("+00:00", "Z")
            assert body["erased_at"] is not None

    def test_keeps_the_id_taken_if_the_backup_lacks_the_device(self, anonymous, db):
        device = Device(pk=uuid4())
        listed(device)

        run()

        assert anonymous.post("/v1/auth/register", {"device_id": str(device.pk)}).status_code == 409

    def test_completes_an_erasure_that_the_backup_holds_half_done(self, device):
        add_rows(device)
        Erasure.objects.request(device.pk, uuid4())

        run("--without-ledger")

        assert rows_of(device) == []
        assert Erasure.objects.get().erased_at is not None

    def test_changes_nothing_about_an_erasure_that_the_backup_holds(self, api, erase, ledger):
        api.delete("/v1/devices/me")
        erase()
        before = list(Erasure.objects.values())

        run()

        assert list(Erasure.objects.values()) == before

    def test_reads_further_ledgers(self, device, other_device, tmp_path):
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

    def test_says_how_many_lines_can_not_be_read(self, device, ledger):
        listed(device)
        ledger.write_text(f"nonsense\n{ledger.read_text()}2026-01-05T0")

        said = run()

        assert not Device.objects.exists()
        assert said.splitlines()[1] == "Ignored 2 lines of the ledger that can't be read."

    def test_handles_many_erasures_that_the_backup_lacks_in_few_queries(
        self, device, django_assert_max_num_queries, ledger
    ):
        now = timezone.now()
        ledgers.append([Entry(now, uuid4(), hash_device_id(uuid4())) for _ in range(1000)])

        with django_assert_max_num_queries(30):
            run()

        assert Erasure.objects.exclude(erased_at=None).count() == 1000


class TestWithoutALedger:
    @pytest.mark.parametrize("content", [None, "", "\n"])
    def test_is_refused_and_changes_nothing(self, device, ledger, content):
        if content is not None:
            ledger.write_text(content)

        with pytest.raises(CommandError, match=r"There is no ledger of erasures at .*add --without-ledger"):
            run()

        assert not Restore.objects.exists()

    def test_continues_with_the_option(self, device):
        run("--without-ledger")

        assert Restore.objects.exists()

    def test_reads_the_ledger_with_the_option_if_there_is_one(self, device):
        listed(device)

        run("--without-ledger")

        assert not Device.objects.exists()

    def test_is_refused_if_a_file_is_missing(self, device, tmp_path):
        listed(device)

        with pytest.raises(CommandError, match="can't be read"):
            run("--ledger", str(tmp_path / "missing.txt"))

        assert Device.objects.filter(deleted_at=None).exists()
        assert not Restore.objects.exists()
