from functools import partial
from uuid import uuid4

import pytest
from rest_framework.test import APIClient

from devices.models import Attempts, Device, Erasure
from products.models import Portion, Product
from products.tests.factories import ProductFactory
from tests.harness.at_once import at_once, statuses

pytestmark = [pytest.mark.postgres, pytest.mark.django_db(transaction=True)]

ME = "/v1/devices/me"
ROTATE = "/v1/auth/rotate"
TURNS = 3  # who is first is a matter of luck


def call(token: str, method: str, path: str, body=None):
    """Return a call that is ready to be made."""
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {token}")
    client.handler.load_middleware()
    return partial(getattr(client, method), path, body)


def register(device_id, address: str):
    client = APIClient(REMOTE_ADDR=address)
    client.handler.load_middleware()
    return partial(client.post, "/v1/auth/register", {"device_id": device_id})


def status(token: str, path=ME) -> int:
    return call(token, "get", path)().status_code


def newborn() -> str:
    return Device.objects.register(uuid4())


def rotated(token: str) -> str:
    return call(token, "post", ROTATE)().json()["token"]


def rows() -> list[Attempts]:
    return list(Attempts.objects.all())


class TestRegistrationsAtOnce:
    def test_of_one_id_succeed_once(self):
        device_id = uuid4()

        answers = at_once(*(register(device_id, f"192.0.2.{n}") for n in range(32)))

        assert statuses(answers) == {200: 1, 409: 31}
        (token,) = [answer.json()["token"] for answer in answers if answer.status_code == 200]
        assert {str(answer.json()) for answer in answers if answer.status_code == 409} == {
            "{'detail': 'Device already registered'}"
        }
        assert Device.objects.get().pk == device_id
        assert status(token) == 200

    def test_from_one_address_pass_as_often_as_its_rate_says(self, settings):
        settings.REGISTER_RATE = "10/min"

        answers = at_once(*(register(uuid4(), "192.0.2.1") for _ in range(12)))

        assert statuses(answers) == {200: 10, 429: 2}
        assert Device.objects.count() == 10
        assert len(Attempts.objects.get().moments) == 10

    def test_from_many_addresses_forget_what_has_expired(self):
        Attempts.objects.bulk_create(Attempts(key=f"expired {n}", expires_at=1) for n in range(20))

        answers = at_once(*(register(uuid4(), f"192.0.2.{n}") for n in range(8)))

        assert statuses(answers) == {200: 8}
        assert Attempts.objects.count() == 8

    def test_from_many_networks_of_one_48_are_counted_in_all_of_them(self, settings):
        settings.REGISTER_RATE = "1/min"
        subnets = [0, 1, 2, 256, 257, 258]

        for turn in range(TURNS):
            Attempts.objects.all().delete()
            answers = at_once(*(register(uuid4(), f"2001:db8:{turn}:{n:x}::1") for n in subnets * 2))

            assert statuses(answers) == {200: 6, 429: 6}
            counts = sorted(sum(entry[1] if isinstance(entry, list) else 1 for entry in row.moments) for row in rows())
            assert counts == [1] * 6 + [3, 3, 6]


class TestFailedChecksAtOnce:
    @pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8::1"])
    def test_are_refused_with_401_as_often_as_the_rate_says(self, settings, address):
        settings.AUTH_FAILURE_RATE = "4/min"
        device_id = newborn().partition(".")[0]
        calls = [call(f"{device_id}.{'A' * 43}", "get", ME) for _ in range(6)]

        answers = at_once(*(partial(wrong, REMOTE_ADDR=address) for wrong in calls))

        assert statuses(answers) == {401: 4, 429: 2}
        assert status(f"{newborn().partition('.')[0]}.{'A' * 43}") == 401

    def test_of_two_are_both_counted(self, settings):
        settings.AUTH_FAILURE_RATE = "2/min"
        wrong = f"{newborn().partition('.')[0]}.{'A' * 43}"

        assert statuses(at_once(*(call(wrong, "get", ME) for _ in range(2)))) == {401: 2}
        assert status(wrong) == 429


class TestRotation:
    def test_and_the_use_of_a_new_token_at_once_leave_one_winner(self):
        for _ in range(TURNS):
            old = newborn()
            new = rotated(old)

            rotation, use = at_once(call(old, "post", ROTATE), call(new, "get", ME))

            if rotation.status_code == 200:
                assert use.status_code == 401
                newest = rotation.json()["token"]
                assert [status(new), status(old), status(newest), status(old)] == [401, 200, 200, 401]
            else:
                assert (rotation.status_code, use.status_code) == (401, 200)
                assert rotation.json() == {"detail": "Invalid or expired token"}
                assert [status(new), status(old)] == [200, 401]

    def test_is_settled_once_by_many_first_uses_at_once(self):
        for _ in range(TURNS):
            old = newborn()
            new = rotated(old)

            answers = at_once(*(call(new, "get", ME) for _ in range(6)), *(call(old, "get", ME) for _ in range(2)))

            assert statuses(answers[:6]) == {200: 6}
            assert statuses(answers[6:]).keys() <= {200, 401}
            assert [status(old), status(new)] == [401, 200]

    def test_by_many_at_once_passes_as_often_as_its_rate_says(self, settings):
        settings.ROTATE_RATE = "4/h"
        token = newborn()

        answers = at_once(*(call(token, "post", ROTATE) for _ in range(6)))

        assert statuses(answers) == {200: 4, 429: 2}
        assert status(token) == 200

    def test_and_blocking_at_once_tell_no_phone_that_its_token_is_lost(self):
        for _ in range(TURNS):
            old = newborn()
            new = rotated(old)
            device = Device.objects.get(pk=old.partition(".")[0])

            _, use, rotation = at_once(device.block, call(new, "get", ME), call(old, "post", ROTATE))

            settled = Device.objects.get(pk=device.pk).next_token_hash is None
            assert use.status_code in (200, 403) or rotation.status_code == 200
            assert rotation.status_code in (200, 403) or settled
            assert 403 in (status(old), status(new), status(rotation.json().get("token", new)))

    def test_by_many_at_once_leaves_one_new_token(self):
        for _ in range(TURNS):
            old = newborn()

            answers = at_once(*(call(old, "post", ROTATE) for _ in range(6)))

            assert statuses(answers) == {200: 6}
            assert sorted(status(answer.json()["token"]) for answer in answers) == [200] + [401] * 5
            assert status(old) == 401


class TestDeletingADevice:
    def test_and_writing_at_once_leave_every_write_whole(self):
        for _ in range(TURNS):
            token = newborn()
            device = Device.objects.get(pk=token.partition(".")[0])
            product = ProductFactory(device=device)

            deleted, *written = at_once(
                call(token, "delete", ME),
                call(token, "post", "/v1/products", {"name": "Rye", "kcal_100g": 259}),
                call(token, "patch", f"/v1/products/{product.pk}", {"kcal_100g": 1}),
                call(token, "post", f"/v1/products/{product.pk}/portions", {"name": "Slice", "grams": 35}),
            )

            device.refresh_from_db()
            assert deleted.status_code == 204
            assert statuses(written).keys() <= {200, 201, 401}
            assert device.revision == 2 + sum(answer.status_code != 401 for answer in written)
            stored, portion = written[0].status_code == 201, written[2].status_code == 201
            rows = [model.objects.for_device(device).count() for model in (Product, Portion)]
            assert rows == [1 + stored, 1 + stored + portion]
            assert status(token) == 401

    def test_many_times_at_once_deletes_it_once(self):
        for _ in range(TURNS):
            token = newborn()

            answers = at_once(*(call(token, "delete", ME) for _ in range(3)))

            assert statuses(answers) == {204: 1, 401: 2}
            assert Erasure.objects.filter(device=token.partition(".")[0]).count() == 1

    def test_and_rotating_at_once_leave_no_token(self):
        for _ in range(TURNS):
            token = newborn()

            rotation, deleted = at_once(call(token, "post", ROTATE), call(token, "delete", ME))

            assert deleted.status_code == 204
            assert rotation.status_code in (200, 401)
            assert status(token) == 401
            if rotation.status_code == 200:
                assert status(rotation.json()["token"]) == 401
