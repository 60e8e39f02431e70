"""Two copies and the Redis that they share, also while it is away."""

import signal
import time
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from redis import Redis

from tests.e2e.scaling.machines import migrated
from tests.e2e.scaling.writing_phone import WritingPhone
from tests.harness.processes import until


@pytest.fixture(scope="module")
def service(started, postgres) -> Iterator[SimpleNamespace]:
    database, redis = migrated(postgres, "cached"), started.redis()
    address = {"CACHE_URL": f"rediscache://127.0.0.1:{redis.port}/0"}
    one, two = (started.copy(f"cached-{name}", database, **address) for name in ("one", "two"))
    with Redis(port=redis.port) as asked:
        yield SimpleNamespace(one=one, two=two, redis=redis, asked=asked)


@pytest.fixture
def phone(service) -> Iterator[WritingPhone]:
    with WritingPhone(service.one.port) as phone:
        yield phone


def calls(phone: WritingPhone, times: int = 30) -> float:
    """Return the seconds that some calls of a phone take, all of them answered."""
    began = time.monotonic()
    for _ in range(times):
        assert phone.get("/v1/devices/me").status_code == 200
    return time.monotonic() - began


class TestASharedCache:
    def test_tells_a_copy_what_the_other_one_found_out(self, service, phone):
        calls(phone)
        hits = service.asked.info()["keyspace_hits"]
        phone.move_to(service.two.port)
        calls(phone)

        # Each worker of two asks once, and never again.
        assert 1 <= service.asked.info()["keyspace_hits"] - hits <= 2

    def test_may_hang(self, service, phone):
        calls(phone)
        service.redis.signal(signal.SIGSTOP)
        try:
            known = calls(phone)
            phone.move_to(service.two.port)
            assert calls(phone) < 30 * 0.25  # who would wait at each call
            assert known < 30 * 0.25
        finally:
            service.redis.signal(signal.SIGCONT)

    def test_may_go_and_come_back_empty(self, service, phone):
        calls(phone)
        service.redis.kill()
        phone.move_to(service.two.port)
        calls(phone)
        service.redis.start()

        until(lambda: remembers_a_new_phone(service), "the cache is not used any more")


def remembers_a_new_phone(service) -> bool:
    with WritingPhone(service.one.port) as phone:
        calls(phone, 1)
        return service.asked.dbsize() > 0
