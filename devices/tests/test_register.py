import re
from datetime import timedelta
from uuid import UUID, uuid4

import bcrypt
import pytest
from django.utils import timezone

from devices.models import Device, Erasure
from tests.harness.errors import conflict_body

REGISTER = "/v1/auth/register"


@pytest.mark.django_db
class TestRegister:
    def test_returns_a_valid_token(self, anonymous, api):
        device_id = str(uuid4())

        response = anonymous.post(REGISTER, {"device_id": device_id})

        assert response.status_code == 200
        assert response.json().keys() == {"token"}
        token = response.json()["token"]
        assert re.fullmatch(re.escape(device_id) + r"\.[A-Za-z0-9_-]{43}", token)
        api.use(token)
        assert api.get("/v1/devices/me").json()["id"] == device_id

    def test_stores_the_device_and_a_hash_of_the_secret(self, anonymous):
        token = anonymous.post(REGISTER, {"device_id": uuid4()}).json()["token"]

        device_id, _, secret = token.partition(".")
        device = Device.objects.get()
        assert device.pk == UUID(device_id)
        assert (device.revision, device.next_token_hash, device.deleted_at) == (1, None, None)
        assert timezone.now() - device.last_seen_at < timedelta(minutes=1)
        assert timezone.now() - device.created_at < timedelta(minutes=1)
        assert secret not in str(Device.objects.values().get())
        assert bcrypt.checkpw(secret.encode(), device.token_hash.encode())

    @pytest.mark.parametrize("rounds", [4, 5])
    def test_hashes_with_the_rounds_of_the_setting(self, anonymous, settings, rounds):
        settings.BCRYPT_ROUNDS = rounds

        anonymous.post(REGISTER, {"device_id": uuid4()})

        assert Device.objects.get().token_hash.startswith(f"$2b${rounds:02}$")

    def test_ignores_the_case_of_the_id(self, anonymous, device):
        response = anonymous.post(REGISTER, {"device_id": str(device.pk).upper()})

        assert response.status_code == 409
        assert response.json() == conflict_body("Device already registered", device.pk)

        other = uuid4()
        token = anonymous.post(REGISTER, {"device_id": str(other).upper()}).json()["token"]
        assert token.startswith(f"{other}.")

    def test_ignores_a_token(self, anonymous):
        response = anonymous.post(REGISTER, {"device_id": uuid4()}, headers={"Authorization": "Bearer x"})

        assert response.status_code == 200

    def test_generates_a_secret_for_each_device(self, anonymous):
        responses = [anonymous.post(REGISTER, {"device_id": uuid4()}).json()["token"] for _ in range(3)]

        assert len({token.partition(".")[2] for token in responses}) == 3

    def test_returns_409_if_the_id_is_registered(self, anonymous, api, device):
        response = anonymous.post(REGISTER, {"device_id": device.pk})

        assert response.status_code == 409
        assert response.json() == conflict_body("Device already registered", device.pk)
        assert Device.objects.get().token_hash == device.token_hash
        assert api.get("/v1/devices/me").status_code == 200

    def test_returns_409_if_the_device_was_erased(self, anonymous, device):
        Erasure.objects.request(device.pk, uuid4())
        before = Device.objects.values().get()

        response = anonymous.post(REGISTER, {"device_id": device.pk})

        assert response.status_code == 409
        assert response.json() == conflict_body("Device already registered", device.pk)
        assert Device.objects.values().get() == before

    @pytest.mark.parametrize(
        ("body", "code"),
        [
            ({}, "required"),
            ({"id": "0d9c3c5e-3f2b-4c41-9b0e-6a3b6a6f2c11"}, "required"),
            ({"device_id": str(UUID(int=0))}, "nil"),
            ({"device_id": None}, "null"),
            *[
                ({"device_id": value}, "invalid")
                for value in (
                    "",
                    "phone",
                    7,
                    1.5,
                    True,
                    [],
                    {},
                    ["0d9c3c5e-3f2b-4c41-9b0e-6a3b6a6f2c11"],
                    "0d9c3c5e3f2b4c419b0e6a3b6a6f2c11",
                    "{0d9c3c5e-3f2b-4c41-9b0e-6a3b6a6f2c11}",
                    "urn:uuid:0d9c3c5e-3f2b-4c41-9b0e-6a3b6a6f2c11",
                    "0d9c3c5e-3f2b-4c41-9b0e-6a3b6a6f2c11\n",
                    "0d9c3c5e-3f2b-4c41-9b0e-6a3b6a6f2c1",
                    "0d9c3c5e-3f2b-4c41-9b0e-6a3b6a6f2c1g",
                    "٠d9c3c5e-3f2b-4c41-9b0e-6a3b6a6f2c11",
                    "\x000d9c3c5e-3f2b-4c41-9b0e-6a3b6a6f2c11",
                    13 * 10**37,
                )
            ],
        ],
        ids=repr,
    )
    def test_returns_422_if_the_id_is_no_uuid(self, anonymous, body, code):
        response = anonymous.post(REGISTER, body)

        assert response.status_code == 422
        assert response.json()["detail"] == "Validation error"
        (error,) = response.json()["errors"]
        assert error.keys() == {"loc", "field", "msg", "type"}
        assert (error["loc"], error["type"]) == (["device_id"], code)
        assert not Device.objects.exists()


@pytest.mark.django_db
class TestClosedRegistrations:
    @pytest.fixture
    def closed(self, settings):
        settings.REGISTER_RATE = None

    def test_refuse_new_devices(self, anonymous, closed):
        for _ in range(3):
            response = anonymous.post(REGISTER, {"device_id": uuid4()})

            assert response.status_code == 403
            assert response.json() == {"detail": "This service accepts no new devices."}
        assert not Device.objects.exists()

    def test_still_say_that_an_id_is_registered(self, anonymous, device, closed):
        response = anonymous.post(REGISTER, {"device_id": device.pk})

        assert response.status_code == 409
        assert response.json() == conflict_body("Device already registered", device.pk)

    def test_still_refuse_a_body_that_is_invalid(self, anonymous, closed):
        assert anonymous.post(REGISTER, {"device_id": "x"}).status_code == 422

    def test_leave_known_devices_alone(self, api, closed):
        token = api.post("/v1/auth/rotate").json()["token"]
        api.use(token)

        assert api.post("/v1/products", {"name": "Rye", "kcal_100g": 259}).status_code == 201
        assert api.get("/v1/devices/me").status_code == 200
