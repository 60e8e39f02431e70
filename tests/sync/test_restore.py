from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import transaction
from django.utils import timezone
from rest_framework.test import APIClient

from devices.models import Device, Gap, Restore
from products.tests.factories import ProductFactory
from tests.harness.sync import ALL_STORED, live_rows, product, pull_changes, push, push_ok, revision


def run_after_restore() -> str:
    """Run the command that an operator runs after a backup is restored."""
    output = StringIO()
    call_command("after_restore", "--without-ledger", stdout=output)
    return output.getvalue()


@pytest.fixture
def rye(api) -> dict:
    """A product with revision 2, the last one in the backup."""
    row = product(name="Rye")
    push_ok(api, products={"created": [row]})
    return row


def now() -> int:
    return int(timezone.now().timestamp() * 1_000_000)


class TestAfterRestore:
    def test_raises_all_revisions_to_the_current_time(self, api, device, other_device, rye):
        earliest = now()

        output = run_after_restore()

        restore = Restore.objects.get()
        assert earliest <= restore.base <= now()
        assert set(Device.objects.values_list("revision", flat=True)) == {restore.base}
        assert restore.base < 2**53
        assert f"\nSet the revision of 2 devices to {restore.base}.\n" in output

    def test_stores_the_gap_of_each_device(self, api, device, other_device, rye):
        run_after_restore()

        base = Restore.objects.get().base
        assert set(Gap.objects.values_list("device_id", "after", "before")) == {
            (device.pk, 2, base),
            (other_device.pk, 1, base),
        }

    def test_changes_no_rows(self, api, rye):
        before = live_rows(api, "products"), live_rows(api, "portions")

        run_after_restore()

        assert (live_rows(api, "products"), live_rows(api, "portions")) == before

    def test_the_next_change_has_the_next_revision(self, api, rye):
        run_after_restore()
        base = revision(api)

        push_ok(api, base, products={"created": [product()]})

        assert revision(api) == base + 1

    def test_works_without_devices(self, db):
        assert "\nSet the revision of 0 devices to " in run_after_restore()

    def test_fails_if_the_clock_is_behind_the_last_restore(self, db, device):
        Restore.objects.record(timezone.now() + timedelta(days=1))
        before = list(Device.objects.values()), list(Gap.objects.values()), list(Restore.objects.values())

        with pytest.raises(CommandError, match="clock"):
            run_after_restore()

        assert (list(Device.objects.values()), list(Gap.objects.values()), list(Restore.objects.values())) == before

    def test_fails_if_the_clock_is_behind_the_revision_of_a_device(self, db, device):
        Device.objects.filter(pk=device.pk).update(revision=now() + 10**9)

        with pytest.raises(CommandError, match="clock"):
            run_after_restore()

        assert not Restore.objects.exists()


class TestClientWithLostWrites:
    @pytest.fixture
    def base(self, rye) -> int:
        run_after_restore()
        return Restore.objects.get().base

    @pytest.mark.parametrize("since", [1, 2, 3, 10**6])
    def test_gets_restored_and_all_rows(self, api, rye, base, since):
        answer = pull_changes(api, since)

        assert answer["restored"] is True
        assert answer["timestamp"] == base
        assert [row["id"] for row in answer["changes"]["products"]["updated"]] == [rye["id"]]

    def test_does_not_get_restored_if_it_has_never_pulled(self, api, base):
        assert "restored" not in pull_changes(api)

    def test_gets_restored_until_it_has_pulled_the_base(self, api, base):
        assert pull_changes(api, base - 1)["restored"] is True
        assert "restored" not in pull_changes(api, base)

    def test_gets_409_if_it_pushes_before_it_pulls(self, api, rye, base, all_rows):
        before, row = all_rows(), product()

        response = push(api, 3, products={"created": [row], "deleted": [rye["id"]]})

        assert response.status_code == 409
        assert set(response.json()["conflicts"]["products"]) == {row["id"], rye["id"]}
        assert all_rows() == before

    @pytest.mark.parametrize("others", [0, 2], ids=["", "with other rows"])
    def test_gets_restored_if_only_its_last_push_was_lost(self, api, device, rye, others):
        """A push does not change the client's cursor, so the cursor doesn't show that the backup lacks the push."""
        cursor, lost = revision(api), product(name="Lost")
        ProductFactory.create_batch(others, device=device)
        backup = transaction.savepoint()
        push_ok(api, cursor, products={"created": [lost]})
        transaction.savepoint_rollback(backup)
        run_after_restore()

        answer = pull_changes(api, cursor)

        assert answer["restored"] is True
        assert len(answer["changes"]["products"]["updated"]) == 1 + others
        assert push_ok(api, answer["timestamp"], products={"created": [lost]}) == ALL_STORED
        assert live_rows(api, "products")[lost["id"]] == lost

    def test_can_push_all_its_rows_after_the_pull(self, api, rye, base):
        lost = product(name="Lost")

        assert push_ok(api, pull_changes(api, 3)["timestamp"], products={"created": [rye, lost]}) == ALL_STORED
        assert live_rows(api, "products") == {rye["id"]: rye, lost["id"]: lost}

    def test_gets_restored_rather_than_a_replacement(self, api, device, base):
        Device.objects.filter(pk=device.pk).update(purged_through=base)

        answer = pull_changes(api, 3)

        assert answer["restored"] is True
        assert "experimentalStrategy" not in answer

    def test_gets_no_304_after_a_restore(self, api, rye):
        url = "/v1/sync?last_pulled_at=2"
        known = api.get(url)["ETag"]
        run_after_restore()

        assert api.get(url, headers={"If-None-Match": known}).status_code == 200


class TestTwoRestores:
    def test_keep_both_gaps(self, api, rye):
        run_after_restore()
        first = revision(api)
        push_ok(api, first, products={"created": [product()]})
        run_after_restore()
        second = revision(api)

        lost = {since: "restored" in pull_changes(api, since) for since in (2, first, first + 1, second - 1, second)}

        assert lost == {2: True, first: True, first + 1: True, second - 1: True, second: False}


class TestDeviceRegisteredAfterARestore:
    @pytest.fixture
    def registered(self, db) -> APIClient:
        """A device that is not in the backup registers again with its old id."""
        run_after_restore()
        device_id = "0d9c3c5e-3f2b-4c41-9b0e-6a3b6a6f2c11"
        client = APIClient()
        token = client.post("/v1/auth/register", {"device_id": device_id}).json()["token"]
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {token}")
        return client

    def test_starts_at_the_base(self, registered):
        assert revision(registered) == Restore.objects.get().base

    @pytest.mark.parametrize("since", [1, 57, 10**6])
    def test_gets_restored_if_it_sends_an_old_cursor(self, registered, since):
        assert pull_changes(registered, since)["restored"] is True
        assert push(registered, since, products={"created": [product()]}).status_code == 409

    def test_syncs_like_any_other(self, registered):
        answer = pull_changes(registered)
        assert answer.keys() == {"changes", "timestamp"}

        row = product()
        assert push_ok(registered, answer["timestamp"], products={"created": [row]}) == ALL_STORED
        assert list(live_rows(registered, "products")) == [row["id"]]

    def test_starts_at_the_base_of_the_newest_restore(self, anonymous, registered):
        Restore.objects.create(base=5, created_at=datetime(2020, 1, 1, tzinfo=UTC))
        newest = Restore.objects.order_by("base").last().base

        anonymous.post("/v1/auth/register", {"device_id": "7f1c2f6e-61a5-4a6a-9d55-0a3f0c5f8e10"})

        assert Device.objects.get(pk="7f1c2f6e-61a5-4a6a-9d55-0a3f0c5f8e10").revision == newest
