"""Concurrent registrations, token changes and erasures, each on its own connection."""

from collections.abc import Callable
from uuid import uuid4

import pytest
from rest_framework.test import APIClient

from devices.models import Attempts, Device, Erasure
from products.models import Portion, Product
from products.tests.factories import ProductFactory
from tests.harness.at_once import at_once, call, statuses
from tests.harness.client import DeviceClient
from tests.harness.errors import conflict_body

pytestmark = [pytest.mark.postgres, pytest.mark.django_db(transaction=True)]

ME = "/v1/devices/me"
ROTATE = "/v1/auth/rotate"
TURNS = 3  # the order of the calls is random


def register_call(device_id, address: str) -> Callable:
    """Return a registration from this address, for `at_once()`."""
    return call(APIClient(), "POST", "/v1/auth/register", {"device_id": device_id}, REMOTE_ADDR=address)


def new_phone() -> DeviceClient:
    return DeviceClient(Device.objects.register(uuid4()))


def forger() -> DeviceClient:
    """Return a phone whose token has a wrong secret."""
    return DeviceClient(f"{device_id(new_phone())}.{'A' * 43}")


def device_id(phone: DeviceClient) -> str:
    return phone.token.partition(".")[0]


def rotate(phone: DeviceClient) -> DeviceClient:
    """Return a phone with the new token, which has not been used yet."""
    return DeviceClient(phone.post(ROTATE).json()["token"])


def status(phone: DeviceClient) -> int:
    return phone.get(ME).status_code


class TestConcurrentRegistrations:
    def test_of_one_id_succeed_once(self):
        new_id = uuid4()

        responses = at_once(*(register_call(new_id, f"192.0.2.{number}") for number in range(32)))

        assert statuses(responses) == {200: 1, 409: 31}
        (token,) = [response.json()["token"] for response in responses if response.status_code == 200]
        refused = [response.json() for response in responses if response.status_code == 409]
        assert refused == [conflict_body("Device already registered", new_id)] * 31
        assert Device.objects.get().pk == new_id
        assert status(DeviceClient(token)) == 200

    def test_from_one_address_are_limited(self, settings):
        settings.REGISTER_RATE = "10/min"

        responses = at_once(*(register_call(uuid4(), "192.0.2.1") for _ in range(12)))

        assert statuses(responses) == {200: 10, 429: 2}
        assert Device.objects.count() == 10
        assert len(Attempts.objects.get().moments) == 10

    def test_from_many_addresses_remove_expired_attempts(self):
        Attempts.objects.bulk_create(Attempts(key=f"expired {n}", expires_at=1) for n in range(20))

        responses = at_once(*(register_call(uuid4(), f"192.0.2.{number}") for number in range(8)))

        assert statuses(responses) == {200: 8}
        assert Attempts.objects.count() == 8

    def test_from_many_networks_of_one_48_are_counted_in_all_of_them(self, settings):
        settings.REGISTER_RATE = "1/min"
        subnets = [0, 1, 2, 256, 257, 258]

        for turn in range(TURNS):
            Attempts.objects.all().delete()

            responses = at_once(*(register_call(uuid4(), f"2001:db8:{turn}:{subnet:x}::1") for subnet in subnets * 2))

            assert statuses(responses) == {200: 6, 429: 6}
            counts = sorted(
                sum(entry[1] if isinstance(entry, list) else 1 for entry in row.moments)
                for row in Attempts.objects.all()
            )
            assert counts == [1] * 6 + [3, 3, 6]


class TestFailedChecksAtOnce:
    @pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8::1"])
    def test_are_limited(self, settings, address):
        settings.AUTH_FAILURE_RATE = "4/min"
        wrong = forger()

        responses = at_once(*(call(wrong, "GET", ME, REMOTE_ADDR=address) for _ in range(6)))

        assert statuses(responses) == {401: 4, 429: 2}
        assert status(forger()) == 401

    def test_of_two_are_both_counted(self, settings):
        settings.AUTH_FAILURE_RATE = "2/min"
        wrong = forger()

        responses = at_once(*(call(wrong, "GET", ME) for _ in range(2)))

        assert statuses(responses) == {401: 2}
        assert status(wrong) == 429


class TestRotation:
    def test_and_a_concurrent_first_use_leave_one_valid_token(self):
        for _ in range(TURNS):
            old = new_phone()
            new = rotate(old)

            rotation, use = at_once(call(old, "POST", ROTATE), call(new, "GET", ME))

            if rotation.status_code == 200:
                assert use.status_code == 401
                newest = DeviceClient(rotation.json()["token"])
                assert [status(new), status(old), status(newest), status(old)] == [401, 200, 200, 401]
            else:
                assert (rotation.status_code, use.status_code) == (401, 200)
                assert rotation.json() == {"detail": "Invalid or expired token"}
                assert [status(new), status(old)] == [200, 401]

    def test_is_completed_once_by_concurrent_first_uses(self):
        for _ in range(TURNS):
            old = new_phone()
            new = rotate(old)

            responses = at_once(*(call(new, "GET", ME) for _ in range(6)), *(call(old, "GET", ME) for _ in range(2)))

            assert statuses(responses[:6]) == {200: 6}
            assert statuses(responses[6:]).keys() <= {200, 401}
            assert [status(old), status(new)] == [401, 200]

    def test_is_limited(self, settings):
        settings.ROTATE_RATE = "4/h"
        phone = new_phone()

        responses = at_once(*(call(phone, "POST", ROTATE) for _ in range(6)))

        assert statuses(responses) == {200: 4, 429: 2}
        assert status(phone) == 200

    def test_and_concurrent_blocking_return_no_401_for_a_valid_token(self):
        for _ in range(TURNS):
            old = new_phone()
            new = rotate(old)
            device = Device.objects.get(pk=device_id(old))

            _, use, rotation = at_once(device.block, call(new, "GET", ME), call(old, "POST", ROTATE))

            settled = Device.objects.get(pk=device.pk).next_token_hash is None
            assert use.status_code in (200, 403) or rotation.status_code == 200
            assert rotation.status_code in (200, 403) or settled
            assert 403 in (status(old), status(new), status(DeviceClient(rotation.json().get("token", new.token))))

    def test_by_concurrent_requests_leaves_one_new_token(self):
        for _ in range(TURNS):
            old = new_phone()

            responses = at_once(*(call(old, "POST", ROTATE) for _ in range(6)))

            assert statuses(responses) == {200: 6}
            assert sorted(status(DeviceClient(response.json()["token"])) for response in responses) == [200] + [401] * 5
            assert status(old) == 401


class TestDeletingADevice:
    def test_and_concurrent_writes_leave_no_partial_write(self):
        for _ in range(TURNS):
            phone = new_phone()
            device = Device.objects.get(pk=device_id(phone))
            product = ProductFactory(device=device)

            deleted, *written = at_once(
                call(phone, "DELETE", ME),
                call(phone, "POST", "/v1/products", {"name": "Rye", "kcal_100g": 259}),
                call(phone, "PATCH", f"/v1/products/{product.pk}", {"kcal_100g": 1}),
                call(phone, "POST", f"/v1/products/{product.pk}/portions", {"name": "Slice", "grams": 35}),
            )

            device.refresh_from_db()
            assert deleted.status_code == 204
            assert statuses(written).keys() <= {200, 201, 401}
            assert device.revision == 2 + sum(response.status_code != 401 for response in written)
            new_products, new_portions = (written[number].status_code == 201 for number in (0, 2))
            counts = [model.objects.for_device(device).count() for model in (Product, Portion)]
            assert counts == [1 + new_products, 1 + new_products + new_portions]
            assert status(phone) == 401

    def test_concurrently_deletes_it_once(self):
        for _ in range(TURNS):
            phone = new_phone()

            responses = at_once(*(call(phone, "DELETE", ME) for _ in range(3)))

            assert statuses(responses) == {204: 1, 401: 2}
            assert Erasure.objects.filter(device=device_id(phone)).count() == 1

    def test_and_concurrent_rotation_leave_no_token(self):
        for _ in range(TURNS):
            phone = new_phone()

            rotation, deleted = at_once(call(phone, "POST", ROTATE), call(phone, "DELETE", ME))

            assert deleted.status_code == 204
            assert rotation.status_code in (200, 401)
            assert status(phone) == 401
            if rotation.status_code == 200:
                assert status(DeviceClient(rotation.json()["token"])) == 401
