import socket
from contextlib import suppress
from datetime import timedelta
from secrets import token_urlsafe
from threading import Thread
from time import monotonic
from uuid import uuid4

import pytest
from django.core.cache import caches
from django.utils import timezone

from devices import token_cache, tokens
from devices.models import Device, Erasure
from tests.harness.client import DeviceClient

ME = "/v1/devices/me"
SECRET = "A" * 43


def forget() -> None:
    """Clear the local cache, as if the worker had just started."""
    token_cache.local_cache.clear()


def wrong(token: str) -> str:
    """Return a well-formed token of the same device, with another secret."""
    return f"{token.partition('.')[0]}.{token_urlsafe(32)}"


class TestARequestWithoutAToken:
    @pytest.mark.parametrize(
        "header",
        [None, "", " ", "Basic dXNlcjpwYXNz", "Token x", "x", "Bearerx", "Bearer\tx", "é"],
        ids=repr,
    )
    def test_gets_401(self, anonymous, header):
        response = anonymous.get(ME, headers={} if header is None else {"Authorization": header})

        assert response.status_code == 401
        assert response.json() == {"detail": "Authentication credentials were not provided."}
        assert response["WWW-Authenticate"] == "Bearer"

    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("POST", "/v1/auth/rotate"),
            ("DELETE", "/v1/devices/me"),
            ("GET", "/v1/products"),
            ("POST", "/v1/products"),
            ("PATCH", f"/v1/portions/{uuid4()}"),
            ("GET", "/v1/food-entries/summary"),
            ("BREW", "/v1/products"),
        ],
    )
    def test_gets_401_for_every_request(self, anonymous, method, path):
        response = anonymous.generic(method, path, b"{", content_type="application/json")

        assert response.status_code == 401
        assert response.json() == {"detail": "Authentication credentials were not provided."}
        assert response["WWW-Authenticate"] == "Bearer"


class TestAnInvalidToken:
    @pytest.fixture
    def refused(self, anonymous):
        def refused(header: str, path=ME):
            response = anonymous.get(path, headers={"Authorization": header, "X-Request-ID": "same"})
            return response.status_code, response.content, dict(response.headers)

        return refused

    @pytest.fixture
    def unknown(self, db, refused):
        """The response to a token of an unknown device. All invalid tokens must get the same."""
        return refused(f"Bearer {uuid4()}.{SECRET}")

    def test_gets_401(self, unknown):
        status, body, headers = unknown

        assert status == 401
        assert body == b'{"detail":"Invalid or expired token"}'
        assert headers["WWW-Authenticate"] == "Bearer"

    @pytest.mark.parametrize(
        "token",
        [
            "",
            ".",
            "x",
            "{id}",
            "{id}.",
            f".{SECRET}",
            "{id}.{secret}x",
            "{id}.{short}",
            "{id}.{secret}.{secret}",
            "{id} .{secret}",
            "{id}{secret}",
            "{ID}.{secret}",
            "{hex}.{secret}",
            "{id}.{secret}" + "x" * 10_000,
            "{id}." + "A" * 72,
            "{id}." + "é" * 43,
            "{id}." + "秘密".encode().decode("latin-1"),
            "{id}." + "A" * 42 + "=",
            "{id}." + "\x00" * 43,
            "{id}.\r\n{secret}",
        ],
        ids=lambda token: repr(token[:30]),
    )
    def test_is_malformed(self, refused, unknown, device, api, token):
        device_id, _, secret = api.token.partition(".")
        parts = {"id": device_id, "ID": device_id.upper(), "hex": device.pk.hex, "secret": secret, "short": secret[1:]}

        assert device_id.upper() != device_id
        assert refused(f"Bearer {token.format(**parts)}") == unknown

    def test_has_a_wrong_secret(self, refused, unknown, api):
        assert refused(f"Bearer {wrong(api.token)}") == unknown

    def test_has_the_secret_of_another_device(self, refused, unknown, api, other_api):
        mixed = f"{other_api.token.partition('.')[0]}.{api.token.partition('.')[2]}"

        assert refused(f"Bearer {mixed}") == unknown

    def test_is_of_a_deleted_device(self, refused, unknown, api, device):
        api.get(ME)
        Erasure.objects.request(device.pk, uuid4())

        assert refused(f"Bearer {api.token}") == unknown
        assert refused(f"Bearer {wrong(api.token)}") == unknown

    def test_was_replaced(self, refused, unknown, api):
        old = api.token
        api.use(api.post("/v1/auth/rotate").json()["token"])
        api.get(ME)

        assert refused(f"Bearer {old}") == unknown

    def test_gets_401_for_existing_and_unknown_rows(self, refused, unknown, api):
        product = api.post("/v1/products", {"name": "Rye", "kcal_100g": 259}).json()

        bodies = [
            refused(f"Bearer {wrong(api.token)}", f"/v1/products/{row}")[:2] for row in (product["id"], uuid4(), "x")
        ]

        assert bodies == [unknown[:2]] * 3

    def test_writes_nothing(self, anonymous, api, device):
        for method, path in (("POST", "/v1/products"), ("DELETE", ME), ("POST", "/v1/auth/rotate")):
            response = anonymous.generic(
                method,
                path,
                b'{"name": "Rye", "kcal_100g": 259}',
                content_type="application/json",
                headers={"Authorization": f"Bearer {wrong(api.token)}"},
            )
            assert response.status_code == 401

        before = Device.objects.filter(pk=device.pk).values().get()
        assert before["last_seen_at"] == device.last_seen_at
        assert (before["revision"], before["next_token_hash"], before["deleted_at"]) == (1, None, None)


class TestATokenThatIsValid:
    @pytest.mark.parametrize("form", ["Bearer {}", "bearer {}", "BEARER {}", "Bearer  {} "])
    def test_is_accepted_in_every_spelling_of_the_scheme(self, anonymous, api, form):
        response = anonymous.get(ME, headers={"Authorization": form.format(api.token)})

        assert response.status_code == 200

    @pytest.mark.parametrize("remembered", [False, True])
    def test_costs_one_query_by_primary_key(self, api, remembered, django_assert_num_queries):
        Device.objects.bulk_create(Device(pk=uuid4(), token_hash="x") for _ in range(20))
        if not remembered:
            forget()

        with django_assert_num_queries(1) as queries:
            api.get(ME)

        assert '"devices"."id" = ' in queries[0]["sql"]

    @pytest.mark.parametrize("rounds", [4, 5, 10])
    def test_may_be_hashed_with_other_rounds_until_it_is_rotated(self, api, device, settings, rounds):
        settings.BCRYPT_ROUNDS = rounds
        api.use(device.issue_token())
        settings.BCRYPT_ROUNDS = 4
        forget()

        assert api.get(ME).status_code == 200
        api.use(api.post("/v1/auth/rotate").json()["token"])
        assert api.get(ME).status_code == 200
        device.refresh_from_db()
        assert device.token_hash.startswith("$2b$04$")


class TestTheLocalCache:
    @pytest.fixture(autouse=True)
    def _forgotten(self, api):
        forget()

    def test_saves_bcrypt_runs(self, api, bcrypt_runs):
        assert [api.get(ME).status_code for _ in range(3)] == [200] * 3

        assert bcrypt_runs == [api.token.partition(".")[2].encode()]

    def test_has_a_new_token(self, anonymous, db, bcrypt_runs):
        token = anonymous.post("/v1/auth/register", {"device_id": uuid4()}).json()["token"]

        assert anonymous.get(ME, headers={"Authorization": f"Bearer {token}"}).status_code == 200
        assert bcrypt_runs == []

    def test_does_not_accept_another_token(self, api, anonymous, bcrypt_runs):
        api.get(ME)

        response = anonymous.get(ME, headers={"Authorization": f"Bearer {wrong(api.token)}"})

        assert response.status_code == 401
        assert len(bcrypt_runs) == 2

    def test_has_no_wrong_secret(self, anonymous, api, bcrypt_runs):
        header = {"Authorization": f"Bearer {wrong(api.token)}"}

        assert [anonymous.get(ME, headers=header).status_code for _ in range(3)] == [401] * 3
        assert len(bcrypt_runs) == 3
        assert not token_cache.local_cache.expires_at

    def test_is_not_used_after_the_hash_changed(self, api, device, bcrypt_runs):
        api.get(ME)
        Device.objects.filter(pk=device.pk).update(token_hash=tokens.issue(device.pk)[1])

        assert api.get(ME).status_code == 401
        assert len(bcrypt_runs) == 2

    def test_is_not_used_after_the_device_was_deleted(self, api, device, bcrypt_runs):
        api.get(ME)
        Device.objects.filter(pk=device.pk).update(deleted_at=timezone.now())

        assert api.get(ME).status_code == 401
        assert len(bcrypt_runs) == 1

    def test_is_not_used_after_the_secret_key_changed(self, api, settings, bcrypt_runs):
        api.get(ME)
        settings.SECRET_KEY = "another-key"

        assert api.get(ME).status_code == 200
        assert len(bcrypt_runs) == 2

    def test_contains_no_token(self, api):
        api.get(ME)

        (key,) = token_cache.local_cache.expires_at
        device_id, _, secret = api.token.partition(".")
        assert secret not in key
        assert device_id not in key

    def test_keeps_a_token_for_a_day(self, api, bcrypt_runs, monkeypatch):
        api.get(ME)
        day = timedelta(days=1).total_seconds()

        monkeypatch.setattr(token_cache, "monotonic", lambda: monotonic() + day - 60)
        api.get(ME)
        assert len(bcrypt_runs) == 1

        monkeypatch.setattr(token_cache, "monotonic", lambda: monotonic() + day)
        api.get(ME)
        assert len(bcrypt_runs) == 2

    def test_evicts_the_least_recently_used_token(self, api, other_api, bcrypt_runs, monkeypatch):
        monkeypatch.setattr(token_cache, "MAX_TOKENS", 2)
        third = DeviceClient(Device.objects.register(uuid4()))
        forget()

        for phone in (api, other_api, api, third):
            phone.get(ME)
        assert len(bcrypt_runs) == 3
        api.get(ME)
        assert len(bcrypt_runs) == 3
        other_api.get(ME)
        assert len(bcrypt_runs) == 4
        assert len(token_cache.local_cache.expires_at) == 2


class TestTheSharedCache:
    @pytest.fixture(autouse=True)
    def _shared(self, api, settings, tmp_path):
        files = {"BACKEND": "django.core.cache.backends.filebased.FileBasedCache", "LOCATION": tmp_path}
        settings.CACHES = settings.CACHES | {"default": files}
        forget()

    def test_saves_bcrypt_runs_in_other_workers(self, api, bcrypt_runs):
        api.get(ME)
        token_cache.local_cache.clear()  # as in a worker that has not seen the token

        assert [api.get(ME).status_code for _ in range(2)] == [200] * 2
        assert len(bcrypt_runs) == 1

    def test_is_not_read_for_a_token_in_the_local_cache(self, api, bcrypt_runs):
        api.get(ME)
        token_cache.local_cache.clear()
        api.get(ME)
        caches["default"].clear()

        assert api.get(ME).status_code == 200
        assert len(bcrypt_runs) == 1

    def test_stores_no_wrong_secret(self, api, anonymous, tmp_path):
        anonymous.get(ME, headers={"Authorization": f"Bearer {wrong(api.token)}"})

        assert list(tmp_path.iterdir()) == []

    def test_is_not_used_after_the_hash_changed(self, api, device, bcrypt_runs):
        api.get(ME)
        Device.objects.filter(pk=device.pk).update(token_hash=tokens.issue(device.pk)[1])
        token_cache.local_cache.clear()

        assert api.get(ME).status_code == 401
        assert len(bcrypt_runs) == 2


def redis_at(port: int) -> dict:
    """Return cache settings for a Redis on this machine, with the timeouts of the service."""
    options = {"socket_connect_timeout": 0.25, "socket_timeout": 0.25}
    location = f"redis://127.0.0.1:{port}"
    return {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": location, "OPTIONS": options}


class TestACacheThatIsUnavailable:
    @pytest.fixture(autouse=True)
    def _away(self, api, settings, monkeypatch):
        monkeypatch.setattr(token_cache, "shared_cache", token_cache.SharedCache())
        settings.CACHES = settings.CACHES | {"default": redis_at(1)}
        forget()

    def test_is_a_miss(self, api, bcrypt_runs):
        assert [api.get(ME).status_code for _ in range(2)] == [200, 200]
        assert len(bcrypt_runs) == 1  # then the local cache has it

    def test_accepts_no_wrong_secret(self, api, anonymous):
        response = anonymous.get(ME, headers={"Authorization": f"Bearer {wrong(api.token)}"})

        assert response.status_code == 401
        assert response.json() == {"detail": "Invalid or expired token"}

    def test_is_logged_without_the_token(self, api, caplog):
        api.get(ME)

        assert "The cache does not respond" in caplog.text
        assert api.token.partition(".")[2] not in caplog.text

    def test_does_not_affect_registration_and_its_throttle(self, anonymous, db, settings):
        settings.REGISTER_RATE = "2/min"

        responses = [anonymous.post("/v1/auth/register", {"device_id": uuid4()}).status_code for _ in range(3)]

        assert responses == [200, 200, 429]


class TestACacheThatHangs:
    @pytest.fixture
    def cache_connections(self, api, other_api, settings, monkeypatch):
        """The connections to a Redis server that accepts them and never responds."""
        monkeypatch.setattr(token_cache, "shared_cache", token_cache.SharedCache())
        connections = []

        def listen():
            with suppress(OSError):
                while True:
                    connections.append(listener.accept()[0])

        with socket.create_server(("127.0.0.1", 0)) as listener:
            settings.CACHES = settings.CACHES | {"default": redis_at(listener.getsockname()[1])}
            thread = Thread(target=listen)
            thread.start()
            forget()
            yield connections
            caches["default"].close()
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
        for connection in connections:
            connection.close()

    def test_is_not_called_for_a_second(self, api, other_api, cache_connections, monkeypatch):
        assert [phone.get(ME).status_code for phone in (api, other_api)] == [200, 200]
        before = len(cache_connections)

        monkeypatch.setattr(token_cache, "monotonic", lambda: monotonic() + token_cache.PAUSE)
        token_cache.local_cache.clear()
        assert [phone.get(ME).status_code for phone in (api, other_api)] == [200, 200]

        assert (before, len(cache_connections)) == (1, 2)
