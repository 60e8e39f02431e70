from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import transaction
from django.utils import timezone
from rest_framework.test import APIClient

from devices.models import Device, Gap, Restore
from products.tests.factories import ProductFactory
from tests.harness.sync import ALL_STORED, live, product, pulled, push, pushed, revision


def restored() -> str:
    """Do what an operator does when the backup is back."""
    said = StringIO()
    call_command("after_restore", "--without-ledger", stdout=said)
    return said.getvalue()


@pytest.fixture
def rye(api) -> dict:
    """A product of revision 2, the last one that the backup has."""
    row = product(name="Rye")
    pushed(api, products={"created": [row]})
    return row


def now() -> int:
    return int(timezone.now().timestamp() * 1_000_000)


class TestARestore:
    def test_lifts_every_counter_to_the_time(self, api, device, other, rye):
        earliest = now()

        said = restored()

        restore = Restore.objects.get()
        assert earliest <= restore.base <= now()
        assert set(Device.objects.values_list("revision", flat=True)) == {restore.base}
        assert restore.base < 2**53
        assert f"\n2 devices count from {restore.base} on.\n" in said

    def test_remembers_which_numbers_each_device_may_have_lost(self, api, device, other, rye):
        restored()

        base = Restore.objects.get().base
        assert set(Gap.objects.values_list("device_id", "after", "before")) == {
            (device.pk, 2, base),
            (other.pk, 1, base),
        }

    def test_leaves_every_row_as_it_was(self, api, rye):
        before = live(api, "products"), live(api, "portions")

        restored()

        assert (live(api, "products"), live(api, "portions")) == before

    def test_numbers_the_next_change_above_it(self, api, rye):
        restored()
        base = revision(api)

        pushed(api, base, products={"created": [product()]})

        assert revision(api) == base + 1

    def test_is_of_an_empty_service_too(self, db):
        assert "\n0 devices count from " in restored()

    def test_is_refused_where_the_clock_is_behind_the_last_one(self, db, device):
        Restore.objects.record(timezone.now() + timedelta(days=1))
        before = list(Device.objects.values()), list(Gap.objects.values()), list(Restore.objects.values())

        with pytest.raises(CommandError, match="clock"):
            restored()

        assert (list(Device.objects.values()), list(Gap.objects.values()), list(Restore.objects.values())) == before

    def test_is_refused_where_the_clock_is_behind_a_devices_counter(self, db, device):
        Device.objects.filter(pk=device.pk).update(revision=now() + 10**9)

        with pytest.raises(CommandError, match="clock"):
            restored()

        assert not Restore.objects.exists()


class TestAPhoneWhoseWritesWereLost:
    @pytest.fixture
    def base(self, rye) -> int:
        restored()
        return Restore.objects.get().base

    @pytest.mark.parametrize("since", [1, 2, 3, 10**6])
    def test_is_told_so_with_all_there_is(self, api, rye, base, since):
        answer = pulled(api, since)

        assert answer["restored"] is True
        assert answer["timestamp"] == base
        assert [row["id"] for row in answer["changes"]["products"]["updated"]] == [rye["id"]]

    def test_is_none_that_has_never_pulled(self, api, base):
        assert "restored" not in pulled(api)

    def test_is_told_so_up_to_the_base_and_not_at_it(self, api, base):
        assert pulled(api, base - 1)["restored"] is True
        assert "restored" not in pulled(api, base)

    def test_can_push_nothing_before_it_has_heard(self, api, rye, base, everything):
        before, row = everything(), product()

        response = push(api, 3, products={"created": [row], "deleted": [rye["id"]]})

        assert response.status_code == 409
        assert set(response.json()["conflicts"]["products"]) == {row["id"], rye["id"]}
        assert everything() == before

    @pytest.mark.parametrize("others", [0, 2], ids=["", "beside others"])
    def test_is_one_that_has_only_pushed_since_its_last_pull(self, api, device, rye, others):
        """A push does not move the phone's cursor: nothing in that shows that the backup lacks the push."""
        cursor, lost = revision(api), product(name="Lost")
        ProductFactory.create_batch(others, device=device)
        backup = transaction.savepoint()
        pushed(api, cursor, products={"created": [lost]})
        transaction.savepoint_rollback(backup)
        restored()

        answer = pulled(api, cursor)

        assert answer["restored"] is True
        assert len(answer["changes"]["products"]["updated"]) == 1 + others
        assert pushed(api, answer["timestamp"], products={"created": [lost]}) == ALL_STORED
        assert live(api, "products")[lost["id"]] == lost

    def test_can_push_all_that_it_has_then(self, api, rye, base):
        lost = product(name="Lost")

        assert pushed(api, pulled(api, 3)["timestamp"], products={"created": [rye, lost]}) == ALL_STORED
        assert live(api, "products") == {rye["id"]: rye, lost["id"]: lost}

    def test_is_told_rather_that_than_of_a_purge(self, api, device, base):
        Device.objects.filter(pk=device.pk).update(purged_through=base)

        answer = pulled(api, 3)

        assert answer["restored"] is True
        assert "experimentalStrategy" not in answer

    def test_is_told_so_whatever_etag_it_has(self, api, rye):
        url = "/v1/sync?last_pulled_at=2"
        known = api.get(url)["ETag"]
        restored()

        assert api.get(url, headers={"If-None-Match": known}).status_code == 200


class TestTwoRestores:
    def test_keep_both_gaps(self, api, rye):
        restored()
        first = revision(api)
        pushed(api, first, products={"created": [product()]})
        restored()
        second = revision(api)

        lost = {since: "restored" in pulled(api, since) for since in (2, first, first + 1, second - 1, second)}

        assert lost == {2: True, first: True, first + 1: True, second - 1: True, second: False}


class TestADeviceThatRegistersAfterARestore:
    @pytest.fixture
    def newborn(self, db) -> APIClient:
        """A device that the backup did not have; it registers again, under the id that it had."""
        restored()
        device_id = "0d9c3c5e-3f2b-4c41-9b0e-6a3b6a6f2c11"
        client = APIClient()
        token = client.post("/v1/auth/register", {"device_id": device_id}).json()["token"]
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {token}")
        return client

    def test_counts_from_its_base(self, newborn):
        assert revision(newborn) == Restore.objects.get().base

    @pytest.mark.parametrize("since", [1, 57, 10**6])
    def test_is_told_that_what_it_knew_is_lost(self, newborn, since):
        assert pulled(newborn, since)["restored"] is True
        assert push(newborn, since, products={"created": [product()]}).status_code == 409

    def test_begins_like_any_other(self, newborn):
        answer = pulled(newborn)
        assert answer.keys() == {"changes", "timestamp"}

        row = product()
        assert pushed(newborn, answer["timestamp"], products={"created": [row]}) == ALL_STORED
        assert list(live(newborn, "products")) == [row["id"]]

    def test_counts_from_the_newest_of_several(self, anonymous, newborn):
        Restore.objects.create(base=5, created_at=datetime(2020, 1, 1, tzinfo=UTC))
        newest = Restore.objects.order_by("base").last().base

        anonymous.post("/v1/auth/register", {"device_id": "7f1c2f6e-61a5-4a6a-9d55-0a3f0c5f8e10"})

        assert Device.objects.get(pk="7f1c2f6e-61a5-4a6a-9d55-0a3f0c5f8e10").revision == newest
