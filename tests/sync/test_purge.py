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
from tests.harness.sync import entry, live, portion, product, pulled, push, pushed, revision

LONG_AGO = timedelta(days=200)


def run(*options: str) -> str:
    said = StringIO()
    call_command("purge_tombstones", *options, stdout=said)
    return said.getvalue()


def purged() -> str:
    return run("--older-than", "180d", "--commit")


def stored(device, table: str) -> set[str]:
    """Return the ids of the table's rows, live or not."""
    (model,) = [each.model for each in tables() if each.name == table]
    return {str(pk) for pk in model.all_objects.for_device(device).values_list("pk", flat=True)}


def purged_through(device) -> int:
    return Device.objects.get(pk=device.pk).purged_through


@pytest.fixture
def delete(api, device):
    """Return a function by which the phone deletes rows, and which makes that long ago."""

    def delete(table: str, *ids: str, ago=LONG_AGO) -> int:
        pushed(api, revision(api), **{table: {"deleted": list(ids)}})
        with change_set(device):
            for model in owned_models():
                gone = model.all_objects.for_device(device).filter(deleted_at__gt=timezone.now() - timedelta(hours=1))
                for row in gone:
                    # The revision is what it was: time alone passes.
                    type(row).all_objects.for_device(device).filter(pk=row.pk).update(
                        deleted_at=timezone.now() - ago, revision=row.revision
                    )
        return revision(api)

    return delete


@pytest.fixture
def rye(api) -> dict:
    row = product(name="Rye")
    pushed(api, products={"created": [row]}, portions={"created": [portion(row, is_default=True)]})
    return row


@pytest.fixture
def rye_slice(api, rye) -> dict:
    return next(row for row in live(api, "portions").values() if row["product_id"] == rye["id"])


@pytest.fixture
def lunch(api, rye, rye_slice) -> dict:
    row = entry(rye, portion_id=rye_slice["id"], quantity=2)
    pushed(api, revision(api), food_entries={"created": [row]})
    return row


class TestAPurge:
    def test_removes_a_product_with_its_portions(self, api, device, rye, delete):
        delete("products", rye["id"])

        said = purged()

        assert stored(device, "products") == stored(device, "portions") == set()
        assert said == "Removed 0 food entries, 1 portions, 1 products of 1 devices, deleted more than 180 days ago.\n"

    def test_takes_no_revision_and_says_up_to_which_deletions_can_not_be_told(self, api, device, rye, delete):
        delete("products", rye["id"])
        before, gone = revision(api), 3

        purged()

        assert revision(api) == before
        assert purged_through(device) == gone

    def test_leaves_live_rows(self, api, device, rye, lunch, everything):
        before = everything()

        assert purged().startswith("Removed nothing of 0 devices")
        assert everything() == before

    @pytest.mark.parametrize(("days", "removed"), [(179, False), (181, True)])
    def test_removes_what_is_old_enough(self, api, device, rye, delete, days, removed):
        delete("products", rye["id"], ago=timedelta(days=days))

        purged()

        assert (stored(device, "products") == set()) == removed
        assert purged_through(device) == (3 if removed else 0)

    def test_leaves_what_a_live_row_refers_to(self, api, device, rye, rye_slice, lunch, delete):
        delete("products", rye["id"])

        purged()

        assert stored(device, "products") == {rye["id"]}
        assert stored(device, "portions") == {rye_slice["id"]}
        assert purged_through(device) == 0

    def test_leaves_what_a_tombstone_that_stays_refers_to(self, api, device, rye, rye_slice, lunch, delete):
        delete("products", rye["id"])
        delete("food_entries", lunch["id"], ago=timedelta(days=10))

        purged()

        assert stored(device, "products") == {rye["id"]}
        assert stored(device, "portions") == {rye_slice["id"]}
        assert stored(device, "food_entries") == {lunch["id"]}

    def test_removes_what_only_tombstones_that_go_refer_to(self, api, device, rye, lunch, delete):
        delete("food_entries", lunch["id"])
        delete("products", rye["id"])

        purged()

        assert [stored(device, table.name) for table in tables()] == [set(), set(), set()]

    def test_removes_the_rest_where_one_stays(self, api, device, rye, lunch, delete):
        oats = product(name="Oats")
        pushed(api, revision(api), products={"created": [oats]})
        delete("products", rye["id"], oats["id"])

        purged()

        assert stored(device, "products") == {rye["id"]}

    def test_removes_any_number(self, api, device, rye, delete, monkeypatch):
        monkeypatch.setattr(purge, "BATCH", 3)
        rows = [entry(rye) for _ in range(10)]
        pushed(api, revision(api), food_entries={"created": rows})
        delete("food_entries", *(row["id"] for row in rows))

        purged()

        assert stored(device, "food_entries") == set()

    def test_is_of_every_device(self, api, device, stranger, other, rye, delete):
        theirs = product()
        pushed(stranger, products={"created": [theirs]})
        pushed(stranger, revision(stranger), products={"deleted": [theirs["id"]]})
        delete("products", rye["id"])

        run("--older-than", "0d", "--commit")

        assert stored(device, "products") == stored(other, "products") == set()
        assert (purged_through(device), purged_through(other)) == (3, 3)

    def test_leaves_a_device_that_is_marked_for_erasure(self, api, device, rye, delete):
        delete("products", rye["id"])
        Erasure.objects.request(device.pk, uuid4())

        said = purged()

        assert stored(device, "products") == {rye["id"]}
        assert said.startswith("Removed nothing of 0 devices")

    def test_leaves_a_device_that_is_erased_meanwhile(self, device):
        device.delete()

        assert purge.purge_device(device.pk, timezone.now()) == {}

    def test_never_takes_back_what_an_earlier_one_said(self, api, device, rye, delete):
        delete("products", rye["id"])
        Device.objects.filter(pk=device.pk).update(revision=9, purged_through=8)

        purged()

        assert stored(device, "products") == set()
        assert purged_through(device) == 8

    def test_is_not_taken_back_by_a_stale_device(self, api, device, rye, delete):
        stale = Device.objects.get(pk=device.pk)
        delete("products", rye["id"])
        purged()

        stale.save()

        assert purged_through(device) == 3


class TestAPhoneAfterAPurge:
    @pytest.fixture
    def past(self, api, rye, delete) -> int:
        """The revision before a deletion that can't be told any more."""
        since = revision(api)
        delete("products", rye["id"])
        purged()
        return since

    def test_that_missed_the_deletion_is_told_to_replace_what_it_has(self, api, past):
        answer = pulled(api, past)

        assert answer["experimentalStrategy"] == "replacement"
        assert all(changes["deleted"] == [] for changes in answer["changes"].values())

    def test_that_missed_it_can_not_bring_the_row_back(self, api, past, rye, everything):
        before = everything()

        response = push(api, past, products={"updated": [rye]})

        assert (response.status_code, response.json()["conflicts"]) == (409, {"products": [rye["id"]]})
        assert everything() == before

    def test_that_knew_of_it_syncs_as_ever(self, api, past):
        row = product()

        assert push(api, revision(api), products={"created": [row]}).status_code == 200
        assert "experimentalStrategy" not in pulled(api, past + 1)


class TestADryRun:
    def test_says_what_would_go_and_changes_nothing(self, api, device, rye, lunch, delete, everything):
        delete("food_entries", lunch["id"])
        delete("products", rye["id"])
        before, through = everything(), purged_through(device)

        said = run("--older-than", "180d")

        assert said == (
            "Would remove 1 food entries, 1 portions, 1 products of 1 devices, deleted more than 180 days ago.\n"
            "Nothing has been changed. Add --commit to do it.\n"
        )
        assert (everything(), purged_through(device)) == (before, through)

    @pytest.mark.parametrize("text", ["180", "-1d", "1.5d", "d", "", "180 d", "180h", "999999d"])
    def test_or_another_is_refused_for_what_is_no_number_of_days(self, db, text):
        with pytest.raises(CommandError, match="--older-than"):
            run(f"--older-than={text}")

    def test_or_another_needs_to_be_told_how_old(self, db):
        with pytest.raises(CommandError, match="--older-than"):
            run("--commit")


def test_no_live_row_can_be_removed_by_it_even_if_it_is_asked_to(api, device, rye, everything):
    before = everything()

    assert [table.model.all_objects.for_device(device).purge() for table in reversed(tables())] == [0, 0, 0]
    assert everything() == before


def test_an_id_that_was_purged_is_free_again(api, device, rye, delete):
    delete("products", rye["id"])
    purged()

    assert push(api, revision(api), products={"created": [rye]}).status_code == 200
    assert list(live(api, "products")) == [rye["id"]]
