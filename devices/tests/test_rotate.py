import re

import bcrypt
import pytest

INVALID = {"detail": "Invalid or expired token"}


@pytest.fixture
def status(anonymous):
    """Return a function that sends a request with a token and returns the status."""

    def status(token: str, path="/v1/devices/me") -> int:
        return anonymous.get(path, headers={"Authorization": f"Bearer {token}"}).status_code

    return status


@pytest.fixture
def rotate(anonymous):
    """Return a function that rotates a token and returns the new one."""

    def rotate(token: str) -> str:
        response = anonymous.post("/v1/auth/rotate", headers={"Authorization": f"Bearer {token}"})
        assert response.status_code == 200
        assert response.json().keys() == {"token"}
        return response.json()["token"]

    return rotate


@pytest.fixture
def old(api) -> str:
    return api.token


class TestRotate:
    def test_returns_a_new_token_of_the_same_device(self, old, device, rotate):
        new = rotate(old)

        assert re.fullmatch(re.escape(str(device.pk)) + r"\.[A-Za-z0-9_-]{43}", new)
        assert new != old

    def test_stores_a_hash_in_addition_to_the_old_one(self, old, device, rotate):
        secret = rotate(old).partition(".")[2]

        before = device.token_hash
        device.refresh_from_db()
        assert device.token_hash == before
        assert device.next_token_hash.startswith("$2b$04$")
        assert bcrypt.checkpw(secret.encode(), device.next_token_hash.encode())
        assert device.revision == 1

    def test_ignores_the_request_body(self, api, device):
        response = api.generic("POST", "/v1/auth/rotate", b"\xff{", content_type="text/plain")

        assert response.status_code == 200

    def test_returns_401_without_a_token(self, anonymous, device):
        response = anonymous.post("/v1/auth/rotate")

        assert response.status_code == 401
        assert response.json() == {"detail": "Authentication credentials were not provided."}
        device.refresh_from_db()
        assert device.next_token_hash is None

    def test_returns_401_if_the_token_was_replaced(self, old, device, rotate, status, anonymous):
        status(rotate(old))
        device.refresh_from_db()

        response = anonymous.post("/v1/auth/rotate", headers={"Authorization": f"Bearer {old}"})

        assert response.status_code == 401
        assert response.json() == INVALID
        before = device.token_hash
        device.refresh_from_db()
        assert (device.token_hash, device.next_token_hash) == (before, None)

    def test_does_not_affect_other_devices(self, old, rotate, status, other_api):
        status(rotate(old))

        assert other_api.get("/v1/devices/me").status_code == 200


class TestTheOldToken:
    def test_works_until_the_new_one_is_used(self, old, rotate, status):
        new = rotate(old)

        assert [status(old), status(old)] == [200, 200]
        assert status(new) == 200
        assert [status(old), status(new), status(old)] == [401, 200, 401]

    def test_is_refused_like_any_invalid_token(self, old, rotate, status, anonymous):
        status(rotate(old))

        response = anonymous.get("/v1/devices/me", headers={"Authorization": f"Bearer {old}"})

        assert response.status_code == 401
        assert response.json() == INVALID
        assert response["WWW-Authenticate"] == "Bearer"

    @pytest.mark.parametrize(("path", "answer"), [("/v1/products/x", 404), ("/v1/products?limit=0", 422)])
    def test_is_refused_even_if_the_first_request_with_the_new_one_fails(self, old, rotate, status, path, answer):
        new = rotate(old)

        assert status(new, path) == answer
        assert status(old) == 401

    def test_is_refused_at_once_although_it_is_cached(self, old, device, rotate, status, bcrypt_runs):
        status(old)
        status(rotate(old))
        bcrypt_runs.clear()

        assert status(old) == 401
        assert bcrypt_runs == [old.partition(".")[2].encode()]

    def test_has_its_hash_replaced(self, old, device, rotate, status):
        new = rotate(old)
        status(new)

        device.refresh_from_db()
        assert bcrypt.checkpw(new.partition(".")[2].encode(), device.token_hash.encode())
        assert device.next_token_hash is None


class TestTheNewToken:
    def test_is_replaced_by_another_rotation_if_it_was_not_used(self, old, rotate, status):
        lost = rotate(old)
        new = rotate(old)

        assert [status(lost), status(old)] == [401, 200]
        assert [status(new), status(old), status(lost)] == [200, 401, 401]

    def test_can_get_lost_without_locking_out_the_device(self, old, rotate, status):
        for _ in range(3):
            rotate(old)

        assert status(rotate(old)) == 200

    def test_can_be_rotated(self, old, rotate, status):
        second = rotate(old)
        third = rotate(second)

        assert [status(old), status(second)] == [401, 200]
        assert [status(third), status(second), status(old)] == [200, 401, 401]

    def test_is_checked_by_bcrypt_once(self, old, rotate, status, bcrypt_runs):
        new = rotate(old)
        bcrypt_runs.clear()

        assert [status(new) for _ in range(3)] == [200] * 3
        # The first use checks it against the current hash, then against the next one.
        assert bcrypt_runs == [new.partition(".")[2].encode()] * 2

    def test_costs_one_write_at_its_first_use_and_none_later(self, old, rotate, status, django_assert_num_queries):
        new = rotate(old)

        with django_assert_num_queries(2):  # the device; its tokens
            status(new)
        with django_assert_num_queries(1):  # the device
            status(new)
