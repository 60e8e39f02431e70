from secrets import token_urlsafe
from uuid import uuid4

import pytest
from django.utils import timezone

from devices import verdicts
from devices.models import Attempts, Device


@pytest.fixture(autouse=True)
def _ten_a_minute(settings):
    settings.REGISTER_RATE = settings.AUTH_FAILURE_RATE = "10/min"


@pytest.fixture
def ask(anonymous, db):
    """Ask with a token from an address; return the answer."""

    def ask(token, address="192.0.2.1", forwarded=None):
        headers = {"Authorization": f"Bearer {token}"} | ({} if forwarded is None else {"X-Forwarded-For": forwarded})
        return anonymous.get("/v1/devices/me", headers=headers, REMOTE_ADDR=address)

    return ask


@pytest.fixture
def guess(ask, device):
    """Ask with a wrong secret of a device that there is."""
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


class TestGuesses:
    def test_from_one_address_are_at_most_so_many_a_minute(self, guess, clock, bcrypt_runs):
        answers = [guess() for _ in range(12)]

        assert [answer.status_code for answer in answers] == [401] * 10 + [429] * 2
        assert answers[0].json() == {"detail": "Invalid or expired token"}
        assert answers[-1].json() == {"detail": "Request was throttled. Expected available in 60 seconds."}
        assert answers[-1]["Retry-After"] == "60"
        assert len(bcrypt_runs) == 10

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

    @pytest.mark.parametrize("token", [f"{uuid4()}.{'A' * 43}", "deleted"])
    def test_are_one_like_the_other_whatever_they_are_about(self, ask, api, device, clock, token):
        if token == "deleted":
            token = api.token
            Device.objects.filter(pk=device.pk).update(deleted_at=timezone.now())

        assert [ask(token).status_code for _ in range(11)] == [401] * 10 + [429]

    def test_are_not_what_can_be_no_token(self, ask, clock, django_assert_num_queries):
        with django_assert_num_queries(0):
            assert {ask("x").status_code for _ in range(11)} == {401}

    def test_cost_two_reads_where_there_are_too_many(self, guess, clock, django_assert_num_queries):
        for _ in range(11):
            guess()

        with django_assert_num_queries(2) as queries:  # the device; has this address guessed?
            assert guess().status_code == 429
        assert {query["sql"].split()[0] for query in queries} == {"SELECT"}

    def test_refuse_nobody_whose_token_was_found_good_before(self, guess, ask, api, clock):
        assert ask(api.token).status_code == 200
        for _ in range(11):
            guess()

        assert ask(api.token).status_code == 200

    def test_keep_a_token_waiting_that_was_not_checked_before(self, guess, ask, api, clock):
        verdicts.here.clear()
        for _ in range(10):
            guess()

        assert ask(api.token).status_code == 429
        assert ask(api.token, "192.0.2.2").status_code == 200
        clock.now += 60
        assert ask(api.token).status_code == 200

    def test_are_not_good_tokens(self, ask, api, device, clock):
        verdicts.here.clear()
        api.use(api.post("/v1/auth/rotate").json()["token"])

        assert {ask(api.token).status_code for _ in range(11)} == {200}
        assert not Attempts.objects.exists()

    def test_leave_registration_alone(self, guess, register, clock):
        for _ in range(11):
            guess()

        assert register().status_code == 200

    def test_are_counted_where_the_cache_is_away(self, guess, settings, clock, monkeypatch):
        monkeypatch.setattr(verdicts, "shared", verdicts.SharedCache())
        redis = {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": "redis://127.0.0.1:1"}
        settings.CACHES = settings.CACHES | {"default": redis}

        assert [guess().status_code for _ in range(11)] == [401] * 10 + [429]


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
    def test_is_one_however_a_client_varies_it(self, guess, clock, settings, one, same):
        self.behind(settings, 1)
        for _ in range(10):
            guess(forwarded=one)

        assert guess(forwarded=same).status_code == 429

    @pytest.mark.parametrize(
        ("one", "other"),
        [("2001:db8:1:2::1", "2001:db8:1:3::1"), ("192.0.2.7", "192.0.2.8"), ("unknown", "192.0.2.7"), ("", "x")],
    )
    def test_is_another_for_somebody_else(self, guess, clock, settings, one, other):
        self.behind(settings, 1)
        for _ in range(11):
            guess(forwarded=one)

        assert guess(forwarded=other).status_code == 401

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

    def test_is_forgotten_a_few_at_a_time(self, register, clock):
        Attempts.objects.bulk_create(Attempts(key=str(n), expires_at=1) for n in range(150))

        register()
        assert Attempts.objects.count() == 51

        register()
        assert Attempts.objects.count() == 1
