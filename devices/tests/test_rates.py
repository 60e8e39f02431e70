import sys
from concurrent.futures import ThreadPoolExecutor
from secrets import token_urlsafe
from types import SimpleNamespace
from uuid import UUID, uuid4

import pytest

from devices import rates, token_cache
from devices.models import Attempts

ME = "/v1/devices/me"


@pytest.fixture
def moment(monkeypatch):
    """A fake clock for the rates."""
    moment = SimpleNamespace(now=1_000_000.0)
    monkeypatch.setattr(rates, "monotonic", lambda: moment.now)
    return moment


@pytest.fixture(autouse=True)
def _five_a_minute(settings):
    settings.DEVICE_RATE = "5/min"


class TestRequestsOfOneDevice:
    def test_are_limited_in_a_burst(self, api, moment):
        responses = [api.get(ME) for _ in range(7)]

        assert [response.status_code for response in responses] == [200] * 5 + [429] * 2
        assert responses[-1].json() == {"detail": "Request was throttled. Expected available in 12 seconds."}
        assert responses[-1]["Retry-After"] == "12"
        assert not Attempts.objects.exists()

    def test_pass_evenly_after_a_burst(self, api, moment):
        for _ in range(6):
            refused = api.get(ME)

        moment.now += int(refused["Retry-After"])

        assert [api.get(ME).status_code for _ in range(2)] == [200, 429]

    def test_may_be_a_burst_after_a_pause(self, api, moment):
        for _ in range(6):
            api.get(ME)

        moment.now += 60

        assert [api.get(ME).status_code for _ in range(6)] == [200] * 5 + [429]

    def test_count_if_they_get_304(self, api, moment):
        etag = api.get("/v1/products")["ETag"]

        responses = [api.get("/v1/products", headers={"If-None-Match": etag}) for _ in range(5)]

        assert [response.status_code for response in responses] == [304] * 4 + [429]
        assert responses[-1]["Retry-After"] == "12"
        assert responses[-1].json()["detail"].startswith("Request was throttled.")

    def test_count_once_if_the_etag_does_not_match(self, api, moment):
        responses = [api.get("/v1/products", headers={"If-None-Match": '"another"'}) for _ in range(6)]

        assert [response.status_code for response in responses] == [200] * 5 + [429]

    @pytest.mark.parametrize(
        ("method", "path"), [("POST", "/v1/products"), ("GET", "/v1/sync"), ("POST", "/v1/sync"), ("DELETE", ME)]
    )
    def test_over_the_rate_change_nothing(self, api, moment, all_rows, method, path):
        for _ in range(5):
            api.get(ME)
        before = all_rows()

        response = api.generic(method, path, b'{"name": "Rye", "kcal_100g": 1}', content_type="application/json")

        assert response.status_code == 429
        assert all_rows() == before

    def test_do_not_count_for_other_devices(self, api, other_api, moment):
        for _ in range(6):
            api.get(ME)

        assert other_api.get(ME).status_code == 200

    def test_with_a_wrong_secret_do_not_count(self, api, anonymous, device, moment):
        for _ in range(10):
            wrong = anonymous.get(ME, headers={"Authorization": f"Bearer {device.pk}.{token_urlsafe(32)}"})
            assert wrong.status_code == 401

        assert [api.get(ME).status_code for _ in range(6)] == [200] * 5 + [429]

    def test_count_whether_or_not_the_token_is_remembered(self, api, moment):
        statuses = []
        for _ in range(6):
            token_cache.local_cache.clear()
            statuses.append(api.get(ME).status_code)

        assert statuses == [200] * 5 + [429]

    def test_cost_no_query(self, api, moment, django_assert_num_queries):
        for _ in range(5):
            api.get(ME)

        with django_assert_num_queries(1):  # the device
            assert api.get(ME).status_code == 429


class TestDeviceRates:
    @pytest.mark.parametrize("rate", ["1/d", "7/s", "600/min", "999/h", "10000/day"])
    def test_allow_the_whole_number_in_a_burst(self, settings, moment, rate):
        settings.DEVICE_RATE = rate
        device_rates, device_id = rates.DeviceRates(), uuid4()

        passed = sum(device_rates.wait(device_id) is None for _ in range(11_000))

        assert passed == rates.parse_rate(rate)[0]

    def test_evict_the_least_recently_used_device(self, settings, moment, monkeypatch):
        settings.DEVICE_RATE = "2/min"
        monkeypatch.setattr(rates, "MAX_DEVICES", 3)
        device_rates = rates.DeviceRates()

        for number in (1, 2, 3, 4, 2):
            device_rates.wait(UUID(int=number))

        assert [UUID(bytes=key).int for key in device_rates.arrival_at] == [3, 4, 2]
        assert [device_rates.wait(UUID(int=4)) for _ in range(2)] == [None, 30]
        assert device_rates.wait(UUID(int=1)) is None
        assert len(device_rates.arrival_at) == 3

    def test_count_the_requests_of_all_threads(self, settings, moment):
        settings.DEVICE_RATE = "5000/min"
        device_rates, device_id = rates.DeviceRates(), uuid4()

        interval = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)  # switch threads in the middle of a request
        try:
            with ThreadPoolExecutor(8) as pool:
                waits = list(pool.map(lambda _: device_rates.wait(device_id), range(8000)))
        finally:
            sys.setswitchinterval(interval)

        assert sum(wait is None for wait in waits) == 5000
