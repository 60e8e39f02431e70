from datetime import timedelta
from secrets import token_urlsafe
from uuid import uuid4

import pytest
from django.utils import timezone

from countonme.api.errors import Conflict, DeviceBlocked, InvalidToken
from devices import token_cache, tokens
from devices.models import Device, Erasure
from ownership.models import change_set
from products.tests.factories import ProductFactory
from tests.harness.at_once import at_once, call
from tests.harness.errors import conflict_body
from tests.harness.sync import product, pull_changes, push, push_ok

REQUESTS = [
    ("GET", "/v1/devices/me"),
    ("DELETE", "/v1/devices/me"),
    ("POST", "/v1/auth/rotate"),
    ("GET", "/v1/products"),
    ("POST", "/v1/products"),
    ("GET", "/v1/sync"),
    ("POST", "/v1/sync"),
]


def answered(client, token: str, method: str, path: str) -> tuple:
    response = client.generic(
        method,
        path,
        b"{}",
        content_type="application/json",
        headers={"Authorization": f"Bearer {token}", "X-Request-ID": "same"},
    )
    return response.status_code, response.content, dict(response.headers)


BLOCKED = (403, b'{"detail":"This device is blocked. Contact support."}')
INVALID = (401, b'{"detail":"Invalid or expired token"}')


def wrong(device) -> str:
    """Return a token of the device with another secret."""
    return f"{device.pk}.{token_urlsafe(32)}"


class TestABlockedDevice:
    @pytest.mark.parametrize("remembered", [True, False])
    @pytest.mark.parametrize(("method", "path"), REQUESTS)
    def test_is_refused_with_403(self, anonymous, api, device, all_rows, method, path, remembered):
        ProductFactory(device=device, name="Rye")
        answered(anonymous, api.token, "GET", "/v1/devices/me")
        if not remembered:
            token_cache.local_cache.clear()
        device.block()
        before = all_rows()

        status, body, headers = answered(anonymous, api.token, method, path)

        assert (status, body) == BLOCKED
        assert "WWW-Authenticate" not in headers
        assert "ETag" not in headers
        assert all_rows() == before

    @pytest.mark.parametrize(("method", "path"), REQUESTS)
    def test_is_refused_with_401_if_the_secret_is_wrong(self, anonymous, device, method, path):
        device.block()

        refused = answered(anonymous, wrong(device), method, path)

        unknown = f"00000000-0000-4000-8000-000000000000.{token_urlsafe(32)}"
        assert refused[:2] == INVALID
        assert refused == answered(anonymous, unknown, method, path)

    def test_is_refused_with_401_if_it_is_deleted_too(self, anonymous, api, device):
        device.block()
        Erasure.objects.request(device.pk, uuid4())

        assert answered(anonymous, api.token, "GET", "/v1/devices/me")[:2] == INVALID

    def test_is_refused_with_a_matching_etag(self, api, device):
        etag = api.get("/v1/products")["ETag"]
        device.block()

        response = api.get("/v1/products", headers={"If-None-Match": etag})

        assert (response.status_code, response.content) == BLOCKED
        assert "ETag" not in response

    def test_does_not_update_last_seen_at(self, api, device):
        long_ago = timezone.now() - timedelta(days=1)
        Device.objects.filter(pk=device.pk).update(last_seen_at=long_ago)
        device.block()

        api.get("/v1/devices/me")

        device.refresh_from_db()
        assert device.last_seen_at == long_ago

    def test_can_not_use_a_rotated_token(self, anonymous, api, device):
        old = api.token
        rotated = api.post("/v1/auth/rotate").json()["token"]
        device.block()
        stored = Device.objects.values("token_hash", "next_token_hash").get(pk=device.pk)

        for token in (rotated, old, rotated):
            assert answered(anonymous, token, "GET", "/v1/devices/me")[:2] == BLOCKED
        assert Device.objects.values("token_hash", "next_token_hash").get(pk=device.pk) == stored

        device.unblock()
        assert answered(anonymous, old, "GET", "/v1/devices/me")[0] == 200
        assert answered(anonymous, rotated, "GET", "/v1/devices/me")[0] == 200
        assert answered(anonymous, old, "GET", "/v1/devices/me")[:2] == INVALID

    def test_is_refused_with_403_if_it_is_blocked_during_a_rotation(self, api, device, monkeypatch):
        issue = tokens.issue
        monkeypatch.setattr(tokens, "issue", lambda device_id: (device.block(), issue(device_id))[1])

        response = api.post("/v1/auth/rotate")

        assert (response.status_code, response.content) == BLOCKED
        device.refresh_from_db()
        assert device.next_token_hash is None

    def test_is_refused_with_403_if_it_is_blocked_during_the_first_use(self, api, device, monkeypatch):
        api.use(api.post("/v1/auth/rotate").json()["token"])
        complete_rotation = Device.complete_rotation
        monkeypatch.setattr(Device, "complete_rotation", lambda self: (device.block(), complete_rotation(self))[1])

        response = api.get("/v1/devices/me")

        assert (response.status_code, response.content) == BLOCKED
        device.refresh_from_db()
        assert device.next_token_hash is not None

    def test_can_not_be_registered_again(self, anonymous, device):
        device.block()

        response = anonymous.post("/v1/auth/register", {"device_id": str(device.pk)})

        assert response.status_code == 409
        assert response.json() == conflict_body("Device already registered", device.pk)

    def test_keeps_its_rows_and_can_sync_after_it_is_unblocked(self, api, device):
        row = product()
        push_ok(api, products={"created": [row]})
        cursor = pull_changes(api)["timestamp"]
        device.block()
        assert push(api, cursor, products={"updated": [row | {"name": "Other"}]}).status_code == 403

        device.unblock()

        push_ok(api, cursor, products={"updated": [row | {"name": "Other"}]})
        assert pull_changes(api, cursor)["changes"]["products"]["updated"][0]["name"] == "Other"

    def test_can_have_its_rows_corrected(self, device):
        row = ProductFactory(device=device)
        device.block()

        with change_set(device):
            row.change(name="Rye")

        row.refresh_from_db()
        assert row.name == "Rye"

    def test_can_not_rotate_its_token(self, api, device):
        rotated = api.post("/v1/auth/rotate").json()["token"]
        device.refresh_from_db()
        Device.objects.get(pk=device.pk).block()

        assert not device.complete_rotation()
        with pytest.raises(DeviceBlocked):
            device.rotate()

        device.unblock()
        api.use(rotated)
        assert api.get("/v1/devices/me").status_code == 200

    @pytest.mark.parametrize("deleted", [True, False])
    def test_can_not_be_blocked_twice_or_after_its_erasure(self, device, deleted):
        if deleted:
            Erasure.objects.request(device.pk, uuid4())
        else:
            device.block()

        with pytest.raises(Conflict):
            device.block()

    @pytest.mark.parametrize("deleted", [True, False])
    def test_can_not_be_unblocked_if_it_is_not_blocked_or_erased(self, device, deleted):
        if deleted:
            device.block()
            Erasure.objects.request(device.pk, uuid4())

        with pytest.raises(Conflict):
            device.unblock()


class TestAnIssuedToken:
    def test_replaces_the_old_token(self, api, device):
        old, new = api.token, device.issue_token()

        assert new.startswith(f"{device.pk}.")
        assert new != old
        assert api.get("/v1/devices/me").status_code == 401
        api.use(new)
        assert api.get("/v1/devices/me").status_code == 200

    def test_replaces_a_rotated_token(self, api, device):
        rotated = api.post("/v1/auth/rotate").json()["token"]

        new = device.issue_token()

        statuses = []
        for token in (api.token, rotated, new):
            api.use(token)
            statuses.append(api.get("/v1/devices/me").status_code)
        assert statuses == [401, 401, 200]

    def test_is_not_replaced_by_a_concurrent_request_with_the_old_one(self, api, device):
        api.post("/v1/auth/rotate")
        device.refresh_from_db()
        new = Device.objects.get(pk=device.pk).issue_token()

        assert not device.complete_rotation()
        with pytest.raises(InvalidToken):
            device.rotate()

        api.use(new)
        assert api.get("/v1/devices/me").status_code == 200

    def test_is_refused_as_long_as_the_device_is_blocked(self, api, device):
        device.block()
        api.use(device.issue_token())
        assert api.get("/v1/devices/me").status_code == 403

        device.unblock()

        assert api.get("/v1/devices/me").status_code == 200

    def test_does_not_change_the_revision(self, api, device):
        etag = api.get("/v1/products")["ETag"]

        api.use(device.issue_token())

        assert api.get("/v1/products", headers={"If-None-Match": etag}).status_code == 304

    def test_needs_a_live_device(self, device):
        Erasure.objects.request(device.pk, uuid4())

        with pytest.raises(Conflict):
            device.issue_token()

    @pytest.mark.postgres
    @pytest.mark.django_db(transaction=True)
    def test_invalidates_a_rotated_token_that_is_first_used_concurrently(self, api, device):
        for _ in range(5):
            rotated = type(api)(api.post("/v1/auth/rotate").json()["token"])

            _, new = at_once(call(rotated, "GET", "/v1/devices/me"), Device.objects.get().issue_token)

            assert [client.get("/v1/devices/me").status_code for client in (api, rotated)] == [401, 401]
            api.use(new)
            assert api.get("/v1/devices/me").status_code == 200
