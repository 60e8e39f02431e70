import json
from random import Random
from secrets import token_urlsafe
from uuid import uuid4

import bcrypt
import pytest
from django.test import Client

from devices import token_cache
from devices.models import Attempts, Device, Erasure
from devices.throttling import Tier


@pytest.fixture(autouse=True)
def _ten_a_minute(settings):
    settings.REGISTER_RATE = settings.AUTH_FAILURE_RATE = "10/min"


@pytest.fixture
def ask(anonymous, db):
    """Return a function that sends a request with a token from an address."""

    def ask(token, address="192.0.2.1", forwarded=None):
        headers = {"Authorization": f"Bearer {token}"} | ({} if forwarded is None else {"X-Forwarded-For": forwarded})
        return anonymous.get("/v1/devices/me", headers=headers, REMOTE_ADDR=address)

    return ask


@pytest.fixture
def guess(ask, device):
    """Return a function that sends a request with a wrong secret of an existing device."""
    return lambda *args, **kwargs: ask(f"{device.pk}.{token_urlsafe(32)}", *args, **kwargs)


@pytest.fixture
def register(anonymous, db):
    def register(address="192.0.2.1", forwarded=None, body=None):
        headers = {} if forwarded is None else {"X-Forwarded-For": forwarded}
        body = {"device_id": uuid4()} if body is None else body
        return anonymous.post("/v1/auth/register", body, headers=headers, REMOTE_ADDR=address)

    return register


class TestRegistrations:
    def test_from_one_address_are_at_most_10_a_minute(self, register, clock):
        responses = [register() for _ in range(11)]

        assert [response.status_code for response in responses] == [200] * 10 + [429]
        assert responses[-1].json() == {"detail": "Request was throttled. Expected available in 60 seconds."}
        assert responses[-1]["Retry-After"] == "60"
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

    def test_over_the_limit_do_not_count(self, register, clock):
        for _ in range(10):
            register()
        clock.now += 30
        for _ in range(5):
            assert register().status_code == 429

        clock.now += 30

        assert register().status_code == 200

    def test_that_fail_count(self, register, clock):
        responses = [register(body={"device_id": "x"}) for _ in range(10)]

        assert {response.status_code for response in responses} == {422}
        assert register().status_code == 429

    @pytest.mark.parametrize("rate", ["2/s", "2/min", "2/h", "2/day"])
    def test_have_the_limit_of_the_setting(self, register, clock, settings, rate):
        settings.REGISTER_RATE = rate

        assert [register().status_code for _ in range(3)] == [200, 200, 429]

    def test_get_the_seconds_to_wait_after_the_limit_was_lowered(self, register, clock, settings):
        for _ in range(10):
            register()
            clock.now += 1

        settings.REGISTER_RATE = "3/min"
        response = register()

        assert (response.status_code, response["Retry-After"]) == (429, "57")

    def test_are_not_what_only_looks_like_one(self, register, anonymous, clock):
        assert [anonymous.get("/v1/auth/register").status_code for _ in range(11)] == [405] * 11

        assert register().status_code == 200

    def test_do_not_affect_other_requests(self, register, clock, api):
        for _ in range(11):
            register("127.0.0.1")

        assert api.get("/v1/devices/me").status_code == 200
        assert api.post("/v1/auth/rotate").status_code == 200


class TestFailedChecks:
    def test_of_one_device_from_one_address_are_limited(self, guess, clock):
        responses = [guess() for _ in range(12)]

        assert [response.status_code for response in responses] == [401] * 10 + [429] * 2
        assert responses[0].json() == {"detail": "Invalid or expired token"}
        assert responses[-1].json() == {"detail": "Request was throttled. Expected available in 60 seconds."}
        assert responses[-1]["Retry-After"] == "60"

    def test_from_another_address_pass(self, guess, clock):
        for _ in range(11):
            guess("192.0.2.1")

        assert guess("192.0.2.2").status_code == 401

    def test_pass_when_the_minute_is_over(self, guess, clock):
        for _ in range(10):
            guess()

        clock.now += 59
        refused = guess()
        clock.now += int(refused["Retry-After"])

        assert (refused.status_code, refused["Retry-After"]) == (429, "1")
        assert guess().status_code == 401

    def test_over_the_limit_are_not_counted(self, guess, clock):
        for _ in range(10):
            guess()
        clock.now += 59
        for _ in range(10):
            assert guess().status_code == 429

        clock.now += 1

        assert guess().status_code == 401

    def test_over_the_limit_cost_two_reads(self, guess, clock, django_assert_num_queries):
        for _ in range(11):
            guess()

        with django_assert_num_queries(2) as queries:  # the device; its failures from this address
            assert guess().status_code == 429
        assert {query["sql"].split()[0] for query in queries} == {"SELECT"}

    def test_do_not_lock_out_a_valid_token(self, guess, ask, api, clock, bcrypt_runs):
        for _ in range(20):
            guess()
        bcrypt_runs.clear()
        token_cache.local_cache.clear()

        assert [ask(api.token).status_code for _ in range(2)] == [200, 200]
        assert len(bcrypt_runs) == 1

    def test_do_not_lock_out_a_rotated_token(self, guess, ask, api, clock):
        rotated = api.post("/v1/auth/rotate").json()["token"]
        for _ in range(20):
            guess()

        assert ask(rotated).status_code == 200

    def test_do_not_affect_other_devices(self, guess, ask, other_api, other_device, clock):
        for _ in range(20):
            guess()
        token_cache.local_cache.clear()

        assert ask(other_api.token).status_code == 200
        assert ask(f"{other_device.pk}.{token_urlsafe(32)}").status_code == 401

    def test_do_not_count_valid_tokens(self, ask, api, clock):
        api.use(api.post("/v1/auth/rotate").json()["token"])
        Attempts.objects.all().delete()

        for _ in range(11):
            token_cache.local_cache.clear()
            assert ask(api.token).status_code == 200
        assert not Attempts.objects.exists()

    def test_do_not_count_malformed_tokens(self, ask, clock, django_assert_num_queries):
        with django_assert_num_queries(0):
            assert {ask("x").status_code for _ in range(11)} == {401}

    def test_do_not_affect_registration(self, guess, register, clock):
        for _ in range(11):
            guess()

        assert register().status_code == 200

    def test_are_counted_if_the_cache_is_unavailable(self, guess, settings, clock, monkeypatch):
        monkeypatch.setattr(token_cache, "shared_cache", token_cache.SharedCache())
        redis = {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": "redis://127.0.0.1:1"}
        settings.CACHES = settings.CACHES | {"default": redis}

        assert [guess().status_code for _ in range(11)] == [401] * 10 + [429]


class TestTokensOfUnknownDevices:
    @pytest.fixture(params=["unknown", "deleted"])
    def absent(self, request, other_api, other_device):
        """Return a function that returns a token of an unknown or deleted device."""
        if request.param == "unknown":
            return lambda: f"{uuid4()}.{token_urlsafe(32)}"
        Erasure.objects.request(other_device.pk, uuid4())
        return lambda: other_api.token

    def test_are_refused_with_one_read_and_without_bcrypt(
        self, ask, absent, clock, bcrypt_runs, django_assert_num_queries
    ):
        with django_assert_num_queries(20):
            responses = [ask(absent()) for _ in range(20)]

        assert {(response.status_code, response.content) for response in responses} == {
            (401, b'{"detail":"Invalid or expired token"}')
        }
        assert bcrypt_runs == []
        assert not Attempts.objects.exists()

    def test_lock_out_no_device(self, ask, absent, api, device, clock):
        for _ in range(100):
            ask(absent())
        token_cache.local_cache.clear()

        assert ask(api.token).status_code == 200
        assert ask(f"{device.pk}.{token_urlsafe(32)}").status_code == 401


class TestABlockedDevice:
    def test_locks_out_no_device_by_polling(self, ask, api, device, other_api, clock):
        device.block()

        assert {ask(api.token).status_code for _ in range(100)} == {403}
        token_cache.local_cache.clear()
        assert ask(other_api.token).status_code == 200
        assert not Attempts.objects.exists()

    def test_counts_its_wrong_secrets(self, guess, ask, api, device, clock):
        device.block()

        assert [guess().status_code for _ in range(11)] == [401] * 10 + [429]
        token_cache.local_cache.clear()
        assert ask(api.token).status_code == 403


class TestRotations:
    @pytest.fixture(autouse=True)
    def _ten_an_hour(self, settings, clock):
        settings.ROTATE_RATE = "10/h"

    @pytest.fixture
    def hashings(self, monkeypatch) -> list:
        """The secrets that bcrypt has hashed."""
        hashed, hashpw = [], bcrypt.hashpw
        monkeypatch.setattr(bcrypt, "hashpw", lambda secret, salt: (hashed.append(secret), hashpw(secret, salt))[1])
        return hashed

    def test_of_one_device_are_at_most_10_an_hour(self, api, hashings):
        responses = [api.post("/v1/auth/rotate") for _ in range(12)]

        assert [response.status_code for response in responses] == [200] * 10 + [429] * 2
        assert responses[-1].json() == {"detail": "Request was throttled. Expected available in 3600 seconds."}
        assert responses[-1]["Retry-After"] == "3600"
        assert len(hashings) == 10

    def test_over_the_limit_invalidate_no_token(self, api):
        for _ in range(10):
            rotated = api.post("/v1/auth/rotate").json()["token"]
        assert api.post("/v1/auth/rotate").status_code == 429

        assert api.get("/v1/devices/me").status_code == 200
        api.use(rotated)
        assert api.get("/v1/devices/me").status_code == 200

    def test_count_for_all_tokens_and_addresses(self, api):
        for n in range(10):
            api.use(api.post("/v1/auth/rotate", REMOTE_ADDR=f"192.0.2.{n}").json()["token"])

        assert api.post("/v1/auth/rotate", REMOTE_ADDR="192.0.2.99").status_code == 429

    def test_of_another_device_pass(self, api, other_api):
        for _ in range(11):
            api.post("/v1/auth/rotate")

        assert other_api.post("/v1/auth/rotate").status_code == 200

    def test_pass_when_the_hour_is_over(self, api, clock):
        for _ in range(11):
            refused = api.post("/v1/auth/rotate")
        clock.now += int(refused["Retry-After"])

        assert api.post("/v1/auth/rotate").status_code == 200

    def test_are_not_what_only_looks_like_one(self, api, anonymous, device):
        assert {api.get("/v1/auth/rotate").status_code for _ in range(11)} == {405}
        wrong = {"Authorization": f"Bearer {device.pk}.{token_urlsafe(32)}"}
        for _ in range(11):
            anonymous.post("/v1/auth/rotate", headers=wrong)

        assert api.post("/v1/auth/rotate").status_code == 200


class TestIPv6Networks:
    """A /64 has the limit, its /56 ten times as much, and its /48 a hundred times."""

    @pytest.fixture(autouse=True)
    def _one_a_minute(self, settings, clock):
        settings.REGISTER_RATE = settings.AUTH_FAILURE_RATE = settings.LOGIN_FAILURE_RATE = "1/min"

    def address(self, subnet: int) -> str:
        """Return an address in the /64 with this number, all in one /48. 256 of them are a /56."""
        return f"2001:db8:1:{subnet:x}::1"

    def test_limit_registrations_by_56(self, register):
        assert [register(self.address(n)).status_code for n in range(11)] == [200] * 10 + [429]
        assert register(self.address(255)).status_code == 429
        assert register(self.address(256)).status_code == 200

    def test_limit_registrations_by_48(self, register):
        for n in range(100):
            assert register(self.address(256 * (n // 10) + n % 10)).status_code == 200

        assert register(self.address(0xFFFF)).status_code == 429
        assert register("2001:db8:2::1").status_code == 200

    def test_limit_failed_checks(self, guess, ask, api):
        assert [guess(self.address(n)).status_code for n in range(11)] == [401] * 10 + [429]
        assert guess(self.address(256)).status_code == 401
        token_cache.local_cache.clear()
        assert ask(api.token, self.address(10)).status_code == 200

    def test_limit_sign_in(self, db):
        def sign_in(n: int) -> int:
            body = {"username": f"user {n}", "password": "wrong"}
            return Client().post("/admin/login/", body, REMOTE_ADDR=self.address(n)).status_code

        assert [sign_in(n) for n in range(11)] == [200] * 10 + [429]
        assert sign_in(256) == 200

    def test_count_a_request_in_all_of_them_or_in_none(self, register, clock):
        for _ in range(20):  # one is counted; the others are over the limit of the /64
            register(self.address(0))
        assert [register(self.address(n)).status_code for n in range(1, 10)] == [200] * 9
        clock.now += 30
        assert register(self.address(10)).status_code == 429  # over the limit of the /56, and not counted for the /64

        clock.now += 31

        assert register(self.address(10)).status_code == 200

    def test_return_the_longest_wait(self, register, clock):
        for n in range(10):
            register(self.address(n))

        refused = register(self.address(10))
        clock.now += int(refused["Retry-After"])

        assert 60 <= int(refused["Retry-After"]) <= 61
        assert register(self.address(10)).status_code == 200

    @pytest.mark.parametrize("address", ["192.0.2.1", "::ffff:192.0.2.1"])
    def test_do_not_exist_for_ipv4(self, register, address):
        register(address)

        assert Attempts.objects.count() == 1

    def test_are_not_stored_in_the_database(self, register):
        register("2001:db8:1:2::1")

        assert Attempts.objects.count() == 3
        assert "2001" not in str(list(Attempts.objects.values()))


class TestAWideTier:
    RATE = (3000, 60)  # the limit of a /48 if a /64 has 30/min

    def requests(self, period: int):
        """Yield times of requests in bursts and with pauses, over ten periods. They are the same in each run."""
        random, now = Random(7), 1_800_000_000.3
        until = now + 10 * period
        while now < until:
            now += random.choice([0, 0.0001, 0.001, 0.01, 0.1]) * period
            yield now

    def test_has_a_short_history_for_any_number_of_requests(self):
        tier, history, now = Tier("", *self.RATE, is_wide=True), [], 1_800_000_000.0
        for _ in range(12_000):
            now += 0.02
            history, expires_at = tier.add(history, now)

        assert len(history) <= 61
        assert len(json.dumps(history)) < 2_000
        assert now + 60 <= expires_at <= now + 61

    @pytest.mark.parametrize("period", [1, 60, 3600, 86400])
    def test_allows_no_more_than_an_exact_one_and_waits_at_most_a_slot_longer(self, period):
        wide, exact = Tier("", 20, period, is_wide=True), Tier("", 20, period, is_wide=False)
        history, passed, refused = [], [], 0
        for now in self.requests(period):
            wait, least = wide.wait(history, now), exact.wait(passed, now)
            if wait is None:
                assert least is None
                history, passed = json.loads(json.dumps(wide.add(history, now)[0])), exact.add(passed, now)[0]
                continue
            refused += 1
            assert (least or 0) <= wait <= (least or 0) + period / 60 + 0.001

        assert refused > 50


class TestTheAddress:
    @pytest.mark.parametrize(
        ("one", "same"),
        [
            ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("192.0.2.7:4711", "192.0.2.7:4712"),
            ("[2001:db8::1]:4711", "2001:db8::2"),
            ("[2001:db8::1]", "2001:db8::2"),
            ("fe80::1%eth0", "fe80::2"),
        ],
    )
    def test_is_the_same_in_all_spellings(self, guess, clock, settings, one, same):
        self.behind(settings, 1)
        for _ in range(10):
            guess(forwarded=one)

        assert guess(forwarded=same).status_code == 429

    @pytest.mark.parametrize(
        ("one", "other"),
        [("2001:db8:1:2::1", "2001:db8:1:3::1"), ("192.0.2.7", "192.0.2.8"), ("unknown", "192.0.2.7"), ("", "x")],
    )
    def test_differs_between_clients(self, guess, clock, settings, one, other):
        self.behind(settings, 1)
        for _ in range(11):
            guess(forwarded=one)

        assert guess(forwarded=other).status_code == 401

    def behind(self, settings, proxies: int) -> None:
        settings.REST_FRAMEWORK = {**settings.REST_FRAMEWORK, "NUM_PROXIES": proxies}

    def test_is_the_peer_without_a_proxy(self, register, clock, settings):
        self.behind(settings, 0)

        responses = [register(forwarded=f"198.51.100.{n}") for n in range(11)]

        assert responses[-1].status_code == 429
        assert register("192.0.2.2", forwarded="198.51.100.10").status_code == 200

    def test_is_the_last_one_in_x_forwarded_for(self, register, clock, settings):
        self.behind(settings, 1)

        responses = [register(forwarded=f"203.0.113.{n}, 198.51.100.1") for n in range(11)]

        assert responses[-1].status_code == 429
        assert register(forwarded="203.0.113.1, 198.51.100.2").status_code == 200

    def test_is_the_peer_without_x_forwarded_for(self, register, clock, settings):
        self.behind(settings, 1)

        responses = [register() for _ in range(11)]

        assert responses[-1].status_code == 429
        assert register("192.0.2.2").status_code == 200

    def test_is_not_stored_in_the_database(self, register, clock):
        register("192.0.2.77")

        assert Attempts.objects.count() == 1
        assert "192.0.2" not in str(list(Attempts.objects.values())) + str(list(Device.objects.values()))

    def test_is_hashed_with_the_secret_key(self, register, clock, settings):
        register()
        settings.SECRET_KEY = "another-key"
        register()

        assert Attempts.objects.count() == 2

    def test_is_removed_when_it_expires(self, register, clock):
        for n in range(3):
            register(f"192.0.2.{n}")
        assert Attempts.objects.count() == 3

        clock.now += 61
        register("192.0.2.9")

        assert Attempts.objects.count() == 1

    def test_is_removed_in_batches(self, register, clock):
        Attempts.objects.bulk_create(Attempts(key=str(n), expires_at=1) for n in range(150))

        register()
        assert Attempts.objects.count() == 51

        register()
        assert Attempts.objects.count() == 1
