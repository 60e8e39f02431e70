import re

import bcrypt
import pytest

INVALID = {"detail": "Invalid or expired token"}


@pytest.fixture
def status(anonymous):
    """Use a token, and return what it gets."""

    def status(token: str, path="/v1/devices/me") -> int:
        return anonymous.get(path, headers={"Authorization": f"Bearer {token}"}).status_code

    return status


@pytest.fixture
def rotate(anonymous):
    """Rotate with a token, and return the new one."""

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
    def test_answers_a_new_token_of_the_same_device(self, old, device, rotate):
        new = rotate(old)

        assert re.fullmatch(re.escape(str(device.pk)) + r"\.[A-Za-z0-9_-]{43}", new)
        assert new != old

    def test_stores_a_hash_beside_the_old_one(self, old, device, rotate):
        secret = rotate(old).partition(".")[2]

        before = device.token_hash
        device.refresh_from_db()
        assert device.token_hash == before
        assert device.next_token_hash.startswith("$2b$04$")
        assert bcrypt.checkpw(secret.encode(), device.next_token_hash.encode())
        assert device.revision == 1

    def test_takes_any_body_or_none(self, api, device):
        response = api.generic("POST", "/v1/auth/rotate", b"\xff{", content_type="text/plain")

        assert response.status_code == 200

    def test_answers_401_without_a_token(self, anonymous, device):
        response = anonymous.post("/v1/auth/rotate")

        assert response.status_code == 401
        assert response.json() == {"detail": "Authentication credentials were not provided."}
        device.refresh_from_db()
        assert device.next_token_hash is None

    def test_answers_401_to_a_token_that_was_replaced(self, old, device, rotate, status, anonymous):
        status(rotate(old))
        device.refresh_from_db()

        response = anonymous.post("/v1/auth/rotate", headers={"Authorization": f"Bearer {old}"})

        assert response.status_code == 401
        assert response.json() == INVALID
        before = device.token_hash
        device.refresh_from_db()
        assert (device.token_hash, device.next_token_hash) == (before, None)

    def test_leaves_other_devices_alone(self, old, rotate, status, stranger):
        status(rotate(old))

        assert stranger.get("/v1/devices/me").status_code == 200


class TestTheOldToken:
    def test_works_until_the_new_one_is_used(self, old, rotate, status):
        new = rotate(old)

        assert [status(old), status(old)] == [200, 200]
        assert status(new) == 200
        assert [status(old), status(new), status(old)] == [401, 200, 401]

    def test_is_refused_like_any_other(self, old, rotate, status, anonymous):
        status(rotate(old))

        response = anonymous.get("/v1/devices/me", headers={"Authorization": f"Bearer {old}"})

        assert response.status_code == 401
        assert response.json() == INVALID
        assert response["WWW-Authenticate"] == "Bearer"

    @pytest.mark.parametrize(("path", "answer"), [("/v1/products/x", 404), ("/v1/products?limit=0", 422)])
    def test_is_refused_whatever_the_first_use_of_the_new_one_gets(self, old, rotate, status, path, answer):
        new = rotate(old)

        assert status(new, path) == answer
        assert status(old) == 401

    def test_is_refused_at_once_though_its_verdict_is_remembered(self, old, device, rotate, status, bcrypt_runs):
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
    def test_is_replaced_by_another_rotation_where_it_was_not_used(self, old, rotate, status):
        lost = rotate(old)
        new = rotate(old)

        assert [status(lost), status(old)] == [401, 200]
        assert [status(new), status(old), status(lost)] == [200, 401, 401]

    def test_can_get_lost_without_locking_anybody_out(self, old, rotate, status):
        for _ in range(3):
            rotate(old)

        assert status(rotate(old)) == 200

    def test_rotates_in_its_turn(self, old, rotate, status):
        second = rotate(old)
        third = rotate(second)

        assert [status(old), status(second)] == [401, 200]
        assert [status(third), status(second), status(old)] == [200, 401, 401]

    def test_is_checked_by_bcrypt_once(self, old, rotate, status, bcrypt_runs):
        new = rotate(old)
        bcrypt_runs.clear()

        assert [status(new) for _ in range(3)] == [200] * 3
        # Its first use asks whether it is the old one, then whether it is the new one.
        assert bcrypt_runs == [new.partition(".")[2].encode()] * 2

    def test_costs_one_write_at_its_first_use_and_none_later(self, old, rotate, status, django_assert_num_queries):
        new = rotate(old)

        with django_assert_num_queries(2):  # the device; its tokens
            status(new)
        with django_assert_num_queries(1):  # the device
            status(new)
