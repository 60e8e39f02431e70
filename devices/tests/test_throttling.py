from types import SimpleNamespace
from uuid import uuid4

import pytest

from devices import throttling
from devices.models import Attempts, Device


@pytest.fixture
def clock(monkeypatch):
    """The time that the throttle reads; it stands still until it is moved."""
    clock = SimpleNamespace(now=1_800_000_000.0)
    monkeypatch.setattr(throttling, "time", SimpleNamespace(time=lambda: clock.now))
    return clock


@pytest.fixture(autouse=True)
def _ten_a_minute(settings):
    settings.REGISTER_RATE = "10/min"


@pytest.fixture
def register(anonymous, db):
    def register(address="192.0.2.1", forwarded=None, body=None):
        headers = {} if forwarded is None else {"X-Forwarded-For": forwarded}
        body = {"device_id": uuid4()} if body is None else body
        return anonymous.post("/v1/auth/register", body, headers=headers, REMOTE_ADDR=address)

    return register


class TestRegistrations:
    def test_from_one_address_are_at_most_10_a_minute(self, register, clock):
        answers = [register() for _ in range(11)]

        assert [answer.status_code for answer in answers] == [200] * 10 + [429]
        assert answers[-1].json() == {"detail": "Request was throttled. Expected available in 60 seconds."}
        assert answers[-1]["Retry-After"] == "60"
        assert Device.objects.count() == 10

    def test_from_another_address_pass(self, register, clock):
        for _ in range(11):
            register("192.0.2.1")

        assert register("192.0.2.2").status_code == 200
        assert register("2001:db8::1").status_code == 200

    def test_pass_when_the_minute_is_over(self, register, clock):
        for _ in range(10):
            register()

        clock.now += 59
        refused = register()
        clock.now += int(refused["Retry-After"])

        assert (refused.status_code, refused["Retry-After"]) == (429, "1")
        assert [register().status_code for _ in range(11)] == [200] * 10 + [429]

    def test_pass_one_by_one_as_the_window_slides(self, register, clock):
        for _ in range(10):
            register()
            clock.now += 3

        refused = register()
        clock.now += int(refused["Retry-After"])

        assert refused["Retry-After"] == "30"
        assert [register().status_code for _ in range(2)] == [200, 429]

    def test_that_are_refused_do_not_count(self, register, clock):
        for _ in range(10):
            register()
        clock.now += 30
        for _ in range(5):
            assert register().status_code == 429

        clock.now += 30

        assert register().status_code == 200

    def test_that_fail_count_too(self, register, clock):
        answers = [register(body={"device_id": "x"}) for _ in range(10)]

        assert {answer.status_code for answer in answers} == {422}
        assert register().status_code == 429

    @pytest.mark.parametrize("rate", ["2/s", "2/min", "2/h", "2/day"])
    def test_are_as_many_as_the_setting_says(self, register, clock, settings, rate):
        settings.REGISTER_RATE = rate

        assert [register().status_code for _ in range(3)] == [200, 200, 429]

    def test_say_how_long_to_wait_where_the_limit_was_higher(self, register, clock, settings):
        for _ in range(10):
            register()
            clock.now += 1

        settings.REGISTER_RATE = "3/min"
        answer = register()

        assert (answer.status_code, answer["Retry-After"]) == (429, "57")

    def test_are_not_what_only_looks_like_one(self, register, anonymous, clock):
        assert [anonymous.get("/v1/auth/register").status_code for _ in range(11)] == [405] * 11

        assert register().status_code == 200

    def test_leave_all_other_requests_alone(self, register, clock, api):
        for _ in range(11):
            register("127.0.0.1")

        assert api.get("/v1/devices/me").status_code == 200
        assert api.post("/v1/auth/rotate").status_code == 200


class TestTheAddress:
    def behind(self, settings, proxies: int) -> None:
        settings.REST_FRAMEWORK = {**settings.REST_FRAMEWORK, "NUM_PROXIES": proxies}

    def test_is_the_peer_where_there_is_no_proxy(self, register, clock, settings):
        self.behind(settings, 0)

        answers = [register(forwarded=f"198.51.100.{n}") for n in range(11)]

        assert answers[-1].status_code == 429
        assert register("192.0.2.2", forwarded="198.51.100.10").status_code == 200

    def test_is_the_one_that_the_proxy_saw(self, register, clock, settings):
        self.behind(settings, 1)

        answers = [register(forwarded=f"203.0.113.{n}, 198.51.100.1") for n in range(11)]

        assert answers[-1].status_code == 429
        assert register(forwarded="203.0.113.1, 198.51.100.2").status_code == 200

    def test_is_the_peer_where_the_proxy_says_nothing(self, register, clock, settings):
        self.behind(settings, 1)

        answers = [register() for _ in range(11)]

        assert answers[-1].status_code == 429
        assert register("192.0.2.2").status_code == 200

    def test_is_nowhere_in_the_database(self, register, clock):
        register("192.0.2.77")

        assert Attempts.objects.count() == 1
        assert "192.0.2" not in str(list(Attempts.objects.values())) + str(list(Device.objects.values()))

    def test_is_kept_under_the_key_of_the_service(self, register, clock, settings):
        register()
        settings.SECRET_KEY = "another-key"
        register()

        assert Attempts.objects.count() == 2

    def test_is_forgotten_when_it_counts_no_more(self, register, clock):
        for n in range(3):
            register(f"192.0.2.{n}")
        assert Attempts.objects.count() == 3

        clock.now += 61
        register("192.0.2.9")

        assert Attempts.objects.count() == 1
