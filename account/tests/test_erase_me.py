import logging
import re
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from django.utils import timezone

from account.tests.rows import add_rows, rows_of
from devices.models import Device, Erasure, hash_device_id
from food_entries.tests.factories import FoodEntryFactory
from ownership.models import change_set
from products.models import Product
from tests.harness.errors import conflict_body, error_item, id_taken_body

ME = "/v1/devices/me"
INVALID = {"detail": "Invalid or expired token"}


class TestEraseMe:
    def test_returns_204_and_the_url_of_the_receipt(self, api, device):
        response = api.delete(ME)

        erasure = Erasure.objects.get()
        assert response.status_code == 204
        assert response.content == b""
        assert response["Location"] == f"/v1/erasures/{erasure.pk}"
        assert (erasure.device_id, erasure.device_hash) == (device.pk, hash_device_id(device.pk))
        assert erasure.erased_at is None

    def test_accepts_the_receipts_id_from_the_client(self, api):
        erasure_id = uuid4()

        response = api.delete(f"{ME}?erasure_id={str(erasure_id).upper()}")

        assert response.status_code == 204
        assert response["Location"] == f"/v1/erasures/{erasure_id}"
        assert Erasure.objects.get().pk == erasure_id

    def test_revokes_the_tokens_at_once(self, api, device):
        rotated = api.post("/v1/auth/rotate").json()["token"]

        api.delete(ME)

        device.refresh_from_db()
        assert (device.token_hash, device.next_token_hash) == ("", None)
        for token in (api.token, rotated):
            api.use(token)
            for again in (api.get(ME), api.delete(ME), api.post("/v1/auth/rotate"), api.get("/v1/products")):
                assert again.status_code == 401
                assert again.json() == INVALID
                assert again["WWW-Authenticate"] == "Bearer"

    def test_leaves_the_rows_to_the_nightly_job(self, api, device):
        add_rows(device)
        before = [(row.pk, row.revision, row.deleted_at) for row in rows_of(device)]

        api.delete(ME)

        assert [(row.pk, row.revision, row.deleted_at) for row in rows_of(device)] == before

    def test_does_not_affect_other_devices(self, api, device, other_api, other_device):
        FoodEntryFactory(device=other_device)

        api.delete(ME)

        other_device.refresh_from_db()
        assert (other_device.deleted_at, other_device.revision) == (None, 3)
        assert len(other_api.get("/v1/food-entries").json()) == 1

    def test_returns_409_if_the_receipts_id_is_taken(self, api, other_api, device):
        erasure_id = uuid4()
        other_api.delete(f"{ME}?erasure_id={erasure_id}")

        response = api.delete(f"{ME}?erasure_id={erasure_id}")

        assert response.status_code == 409
        assert response.json() == id_taken_body(erasure_id)
        assert api.get(ME).status_code == 200

    @pytest.mark.parametrize(
        "sent", ["", "x", "7", "0d9c3c5e3f2b4c419b0e6a3b6a6f2c11", "%00", "null", str(UUID(int=0))]
    )
    def test_returns_422_if_the_receipts_id_is_not_a_uuid(self, api, sent):
        response = api.delete(f"{ME}?erasure_id={sent}")

        assert response.status_code == 422
        assert [error["loc"] for error in response.json()["errors"]] == [["erasure_id"]]
        assert api.get(ME).status_code == 200

    def test_returns_422_if_the_receipts_id_is_the_devices(self, api, device):
        response = api.delete(f"{ME}?erasure_id={device.pk}")

        assert response.status_code == 422
        assert response.json()["errors"] == [error_item("erasure_id", "Choose a random UUID.", "invalid")]
        assert not Erasure.objects.exists()

    def test_returns_401_without_a_token(self, anonymous, device):
        response = anonymous.delete(ME)

        assert response.status_code == 401
        assert response.json() == {"detail": "Authentication credentials were not provided."}
        device.refresh_from_db()
        assert device.deleted_at is None

    def test_takes_the_same_queries_for_any_number_of_rows(self, django_assert_num_queries, api, other_api):
        for client, count in ((api, 1), (other_api, 5)):
            device = Device.objects.get(pk=client.token.partition(".")[0])
            for _ in range(count):
                FoodEntryFactory(device=device)
            client.get(ME)

            # the device; savepoint; the mark; the erasure; savepoint
            with django_assert_num_queries(5):
                assert client.delete(ME).status_code == 204

    @pytest.mark.parametrize("is_complete", [False, True])
    def test_prevents_that_the_devices_id_is_registered_again(self, api, anonymous, device, erase, is_complete):
        api.delete(ME)
        if is_complete:
            erase()

        response = anonymous.post("/v1/auth/register", {"device_id": str(device.pk)})

        assert response.status_code == 409
        assert response.json() == conflict_body("Device already registered", device.pk)
        assert Device.objects.filter(deleted_at=None).count() == 0

    def test_writes_to_the_ledger(self, api, device, ledger):
        api.delete(ME)

        erasure = Erasure.objects.get()
        assert (
            ledger.read_text()
            == f"{erasure.requested_at:%Y-%m-%dT%H:%M:%SZ} {erasure.pk} {hash_device_id(device.pk)}\n"
        )

    def test_succeeds_if_the_ledger_can_not_be_written(self, api, settings, caplog):
        settings.ERASURE_LEDGER = "/nowhere/erasures.txt"

        with caplog.at_level(logging.ERROR):
            response = api.delete(ME)

        assert response.status_code == 204
        assert "The erasure ledger can't be written: see ERASURE_LEDGER" in caplog.text

    def test_refuses_later_change_sets(self, api, device):
        stale = Device.objects.get(pk=device.pk)
        api.delete(ME)

        with pytest.raises(Exception, match="Invalid or expired token"), change_set(stale):
            Product(device=stale, name="Late", kcal_100g=1).save()

        assert rows_of(device) == []


class TestReceipt:
    @pytest.fixture
    def erasure(self, api) -> Erasure:
        api.delete(ME)
        return Erasure.objects.get()

    def test_can_be_read_without_a_token(self, anonymous, erasure, settings):
        settings.BACKUP_RETENTION = 14
        earliest = timezone.now() + timedelta(days=15)

        response = anonymous.get(f"/v1/erasures/{erasure.pk}")

        body = response.json()
        assert response.status_code == 200
        assert list(body) == ["id", "requested_at", "erased_at", "backups_expire_at"]
        assert body["id"] == str(erasure.pk)
        assert body["requested_at"] == erasure.requested_at.isoformat().replace("+00:00", "Z")
        assert body["erased_at"] is None
        expire_at = timezone.datetime.fromisoformat(body["backups_expire_at"])
        assert earliest <= expire_at <= timezone.now() + timedelta(days=15)
        assert response["Cache-Control"] == "no-store"

    def test_states_when_backups_expire_after_the_erasure(self, anonymous, erasure, erase, settings):
        settings.BACKUP_RETENTION = 30
        erase()

        body = anonymous.get(f"/v1/erasures/{erasure.pk}").json()

        erasure.refresh_from_db()
        assert all(re.search(r"\.[0-9]{6}Z$", body[name]) for name in ("erased_at", "backups_expire_at"))
        expire_at = timezone.datetime.fromisoformat(body["backups_expire_at"])
        assert timezone.datetime.fromisoformat(body["erased_at"]) == erasure.erased_at
        assert expire_at == erasure.erased_at + timedelta(days=31)

    def test_can_be_read_with_any_token(self, api, other_api, erasure):
        for client in (api, other_api):
            assert client.get(f"/v1/erasures/{erasure.pk}").status_code == 200

    @pytest.mark.parametrize("erasure_id", [uuid4(), "x", "0d9c3c5e3f2b4c419b0e6a3b6a6f2c11"])
    def test_returns_404_if_there_is_none(self, db, anonymous, erasure_id):
        response = anonymous.get(f"/v1/erasures/{erasure_id}")

        assert response.status_code == 404
        assert response.json() == {"detail": "Erasure not found"}

    def test_returns_404_for_a_devices_id_or_its_hash(self, anonymous, device, erasure):
        for guess in (device.pk, hash_device_id(device.pk)):
            assert anonymous.get(f"/v1/erasures/{guess}").status_code == 404

    @pytest.mark.parametrize(("age", "status"), [(364, 200), (366, 410)])
    def test_returns_410_a_year_after_the_erasure(self, anonymous, erasure, age, status):
        Erasure.objects.update(erased_at=timezone.now() - timedelta(days=age))

        response = anonymous.get(f"/v1/erasures/{erasure.pk}")

        assert response.status_code == status
        if status == 410:
            assert response.json() == {"detail": "This receipt has expired."}

    def test_does_not_expire_before_the_data_is_removed(self, anonymous, erasure):
        Erasure.objects.update(requested_at=timezone.now() - timedelta(days=500))

        assert anonymous.get(f"/v1/erasures/{erasure.pk}").status_code == 200

    def test_takes_one_query(self, anonymous, erasure, django_assert_num_queries):
        with django_assert_num_queries(1):
            anonymous.get(f"/v1/erasures/{erasure.pk}")
