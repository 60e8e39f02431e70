from datetime import timedelta
from io import StringIO
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from devices.models import Device, Erasure
from ownership.models import change_set, owned_models
from sync import purge
from sync.registry import tables
from tests.harness.sync import entry, live_rows, portion, product, pull_changes, push, push_ok, revision

LONG_AGO = timedelta(days=200)


def run(*options: str) -> str:
    output = StringIO()
    call_command("purge_tombstones", *options, stdout=output)
    return output.getvalue()


def run_purge() -> str:
    return run("--older-than", "180d", "--commit")


def stored_ids(device, table: str) -> set[str]:
    """Return the ids of the table's rows, live or deleted."""
    (model,) = [each.model for each in tables() if each.name == table]
    return {str(pk) for pk in model.all_objects.for_device(device).values_list("pk", flat=True)}


def purged_through(device) -> int:
    return Device.objects.get(pk=device.pk).purged_through


@pytest.fixture
def delete(api, device):
    """Return a function that pushes deletions and moves `deleted_at` into the past."""

    def delete(table: str, *ids: str, ago=LONG_AGO) -> int:
        push_ok(api, revision(api), **{table: {"deleted": list(ids)}})
        with change_set(device):
            for model in owned_models():
                gone = model.all_objects.for_device(device).filter(deleted_at__gt=timezone.now() - timedelta(hours=1))
                for row in gone:
                    # Keep the revision: only the time changes.
                    type(row).all_objects.for_device(device).filter(pk=row.pk).update(
                        deleted_at=timezone.now() - ago, revision=row.revision
                    )
        return revision(api)

    return delete


@pytest.fixture
def rye(api) -> dict:
    row = product(name="Rye")
    push_ok(api, products={"created": [row]}, portions={"created": [portion(row, is_default=True)]})
    return row


@pytest.fixture
def rye_slice(api, rye) -> dict:
    return next(row for row in live_rows(api, "portions").values() if row["product_id"] == rye["id"])


@pytest.fixture
def lunch(api, rye, rye_slice) -> dict:
    row = entry(rye, portion_id=rye_slice["id"], quantity=2)
    push_ok(api, revision(api), food_entries={"created": [row]})
    return row


class TestPurge:
    def test_removes_a_product_with_its_portions(self, api, device, rye, delete):
        delete("products", rye["id"])

        output = run_purge()

        assert stored_ids(device, "products") == stored_ids(device, "portions") == set()
        assert output == "Removed 0 food entries, 1 portion, 1 product of 1 device, deleted more than 180 days ago.\n"

    def test_sets_purged_through_and_keeps_the_revision(self, api, device, rye, delete):
        delete("products", rye["id"])
        before, gone = revision(api), 3

        run_purge()

        assert revision(api) == before
        assert purged_through(device) == gone

    def test_keeps_live_rows(self, api, device, rye, lunch, all_rows):
        before = all_rows()

        assert run_purge().startswith("Removed no rows of 0 devices")
        assert all_rows() == before

    @pytest.mark.parametrize(("days", "removed"), [(179, False), (181, True)])
    def test_removes_only_old_tombstones(self, api, device, rye, delete, days, removed):
        delete("products", rye["id"], ago=timedelta(days=days))

        run_purge()

        assert (stored_ids(device, "products") == set()) == removed
        assert purged_through(device) == (3 if removed else 0)

    def test_keeps_tombstones_that_a_live_row_refers_to(self, api, device, rye, rye_slice, lunch, delete):
        delete("products", rye["id"])

        run_purge()

        assert stored_ids(device, "products") == {rye["id"]}
        assert stored_ids(device, "portions") == {rye_slice["id"]}
        assert purged_through(device) == 0

    def test_keeps_tombstones_that_a_recent_tombstone_refers_to(self, api, device, rye, rye_slice, lunch, delete):
        delete("products", rye["id"])
        delete("food_entries", lunch["id"], ago=timedelta(days=10))

        run_purge()

        assert stored_ids(device, "products") == {rye["id"]}
        assert stored_ids(device, "portions") == {rye_slice["id"]}
        assert stored_ids(device, "food_entries") == {lunch["id"]}

    def test_removes_tombstones_that_only_old_tombstones_refer_to(self, api, device, rye, lunch, delete):
        delete("food_entries", lunch["id"])
        delete("products", rye["id"])

        run_purge()

        assert [stored_ids(device, table.name) for table in tables()] == [set(), set(), set()]

    def test_removes_a_tombstone_next_to_one_that_is_kept(self, api, device, rye, lunch, delete):
        oats = product(name="Oats")
        push_ok(api, revision(api), products={"created": [oats]})
        delete("products", rye["id"], oats["id"])

        run_purge()

        assert stored_ids(device, "products") == {rye["id"]}

    def test_removes_more_rows_than_a_batch(self, api, device, rye, delete, monkeypatch):
        monkeypatch.setattr(purge, "BATCH", 3)
        rows = [entry(rye) for _ in range(10)]
        push_ok(api, revision(api), food_entries={"created": rows})
        delete("food_entries", *(row["id"] for row in rows))

        run_purge()

        assert stored_ids(device, "food_entries") == set()

    def test_includes_all_devices(self, api, device, other_api, other_device, rye, delete):
        theirs = product()
        push_ok(other_api, products={"created": [theirs]})
        push_ok(other_api, revision(other_api), products={"deleted": [theirs["id"]]})
        delete("products", rye["id"])

        run("--older-than", "0d", "--commit")

        assert stored_ids(device, "products") == stored_ids(other_device, "products") == set()
        assert (purged_through(device), purged_through(other_device)) == (3, 3)

    def test_skips_a_device_that_is_marked_for_erasure(self, api, device, rye, delete):
        delete("products", rye["id"])
        Erasure.objects.request(device.pk, uuid4())

        output = run_purge()

        assert stored_ids(device, "products") == {rye["id"]}
        assert output.startswith("Removed no rows of 0 devices")

    def test_skips_a_device_that_is_erased_meanwhile(self, device):
        device.delete()

        assert purge.purge_device(device.pk, timezone.now()) == {}

    def test_never_lowers_purged_through(self, api, device, rye, delete):
        delete("products", rye["id"])
        Device.objects.filter(pk=device.pk).update(revision=9, purged_through=8)

        run_purge()

        assert stored_ids(device, "products") == set()
        assert purged_through(device) == 8

    def test_saving_a_stale_device_keeps_purged_through(self, api, device, rye, delete):
        stale = Device.objects.get(pk=device.pk)
        delete("products", rye["id"])
        run_purge()

        stale.save()

        assert purged_through(device) == 3


class TestClientAfterAPurge:
    @pytest.fixture
    def past(self, api, rye, delete) -> int:
        """The revision before a deletion whose tombstone has been purged."""
        since = revision(api)
        delete("products", rye["id"])
        run_purge()
        return since

    def test_gets_a_replacement_if_it_missed_the_deletion(self, api, past):
        answer = pull_changes(api, past)

        assert answer["experimentalStrategy"] == "replacement"
        assert all(changes["deleted"] == [] for changes in answer["changes"].values())

    def test_gets_409_if_it_missed_the_deletion_and_pushes_the_row(self, api, past, rye, all_rows):
        before = all_rows()

        response = push(api, past, products={"updated": [rye]})

        assert (response.status_code, response.json()["conflicts"]) == (409, {"products": [rye["id"]]})
        assert all_rows() == before

    def test_syncs_as_before_if_it_has_pulled_the_deletion(self, api, past):
        row = product()

        assert push(api, revision(api), products={"created": [row]}).status_code == 200
        assert "experimentalStrategy" not in pull_changes(api, past + 1)


class TestOptions:
    def test_without_commit_rows_are_only_counted(self, api, device, rye, lunch, delete, all_rows):
        delete("food_entries", lunch["id"])
        delete("products", rye["id"])
        before, through = all_rows(), purged_through(device)

        output = run("--older-than", "180d")

        assert output == (
            "Would remove 1 food entry, 1 portion, 1 product of 1 device, deleted more than 180 days ago.\n"
            "Nothing has been changed. Add --commit to do it.\n"
        )
        assert (all_rows(), purged_through(device)) == (before, through)

    @pytest.mark.parametrize("text", ["180", "-1d", "1.5d", "d", "", "180 d", "180h", "999999d"])
    def test_older_than_must_be_a_number_of_days(self, db, text):
        with pytest.raises(CommandError, match="--older-than"):
            run(f"--older-than={text}")

    def test_older_than_is_required(self, db):
        with pytest.raises(CommandError, match="--older-than"):
            run("--commit")


def test_purge_of_a_queryset_never_removes_live_rows(api, device, rye, all_rows):
    before = all_rows()

    assert [table.model.all_objects.for_device(device).purge() for table in reversed(tables())] == [0, 0, 0]
    assert all_rows() == before


def test_the_id_of_a_purged_row_can_be_used_again(api, device, rye, delete):
    delete("products", rye["id"])
    run_purge()

    assert push(api, revision(api), products={"created": [rye]}).status_code == 200
    assert list(live_rows(api, "products")) == [rye["id"]]
