"""Two copies of the service with a shared Redis, also while Redis is unavailable."""

import signal
import time
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from redis import Redis

from tests.e2e.scaling.machines import create_migrated
from tests.e2e.scaling.writing_phone import WritingPhone
from tests.harness.processes import wait_until


@pytest.fixture(scope="module")
def service(started, postgres) -> Iterator[SimpleNamespace]:
    database, redis = create_migrated(postgres, "cached"), started.redis()
    address = {"CACHE_URL": f"rediscache://127.0.0.1:{redis.port}/0"}
    one, two = (started.copy(f"cached-{name}", database, **address) for name in ("one", "two"))
    with Redis(port=redis.port) as client:
        yield SimpleNamespace(one=one, two=two, redis=redis, client=client)


@pytest.fixture
def phone(service) -> Iterator[WritingPhone]:
    with WritingPhone(service.one.port) as phone:
        yield phone


def calls(phone: WritingPhone, times: int = 30) -> float:
    """Make some calls with a phone, which must succeed. Return the seconds that they took."""
    began = time.monotonic()
    for _ in range(times):
        assert phone.get("/v1/devices/me").status_code == 200
    return time.monotonic() - began


class TestASharedCache:
    def test_has_tokens_that_the_other_copy_has_verified(self, service, phone):
        calls(phone)
        hits = service.client.info()["keyspace_hits"]
        phone.move_to(service.two.port)
        calls(phone)

        # Each of the two workers of copy two reads the cache once.
        assert 1 <= service.client.info()["keyspace_hits"] - hits <= 2

    def test_does_not_delay_requests_while_it_hangs(self, service, phone):
        calls(phone)
        service.redis.signal(signal.SIGSTOP)
        try:
            known = calls(phone)
            phone.move_to(service.two.port)
            assert calls(phone) < 30 * 0.25  # 0.25 s: the time if each call waited for the timeout
            assert known < 30 * 0.25
        finally:
            service.redis.signal(signal.SIGCONT)

    def test_is_used_again_after_a_restart(self, service, phone):
        calls(phone)
        service.redis.kill()
        phone.move_to(service.two.port)
        calls(phone)
        service.redis.start()

        wait_until(lambda: caches_a_new_phone(service), "the cache is not used any more")


def caches_a_new_phone(service) -> bool:
    with WritingPhone(service.one.port) as phone:
        calls(phone, 1)
        return service.client.dbsize() > 0
