from datetime import UTC, datetime

from devices.models import Device

ME = "/v1/devices/me"


class TestReadMe:
    def test_shows_the_device(self, api, device):
        response = api.get(ME)

        assert response.status_code == 200
        body = response.json()
        assert body.keys() == {"id", "created_at", "last_seen_at"}
        assert body["id"] == str(device.pk)
        for name in ("created_at", "last_seen_at"):
            assert body[name].endswith("Z")
            assert datetime.fromisoformat(body[name]) == getattr(device, name)

    def test_shows_times_with_six_fraction_digits(self, api, device):
        Device.objects.update(created_at=datetime(2026, 1, 5, 7, 31, tzinfo=UTC))

        assert api.get(ME).json()["created_at"] == "2026-01-05T07:31:00.000000Z"

    def test_shows_the_calling_device(self, api, other_api):
        assert api.get(ME).json()["id"] != other_api.get(ME).json()["id"]

    def test_returns_401_without_a_token(self, anonymous):
        response = anonymous.get(ME)

        assert response.status_code == 401
        assert response.json() == {"detail": "Authentication credentials were not provided."}

    def test_takes_one_query(self, api, django_assert_num_queries):
        with django_assert_num_queries(1):  # the device, which the token names
            api.get(ME)
