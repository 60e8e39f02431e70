"""Two copies of the service behind nginx, with PgBouncer and PostgreSQL, while phones write and sync."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from types import SimpleNamespace

import psycopg
import pytest
from psycopg.rows import dict_row

from tests.e2e.scaling.machines import create_migrated
from tests.e2e.scaling.writing_phone import WritingPhone, write_and_sync
from tests.harness.phone import Phone
from tests.harness.processes import wait_until

PHONES = 6
SECONDS = 2.0  # of each phase


@pytest.fixture(scope="module")
def service(started, postgres, pooler):
    """Two copies behind nginx, which use PgBouncer."""
    create_migrated(postgres, "copies")
    database = postgres.url("copies", user="countonme", through=pooler)
    copies = [started.copy(name, database, DATABASE_POOLER="transaction") for name in ("one", "two")]
    nginx = started.nginx(copies)
    return SimpleNamespace(copies=copies, nginx=nginx, log=started.folder / "upstreams.log")


@pytest.fixture
def phones(service) -> Iterator[list[WritingPhone]]:
    with ExitStack() as open_lines:
        yield [open_lines.enter_context(WritingPhone(service.nginx.port, seed)) for seed in range(PHONES)]


def responses(service, since: int = 0) -> dict[str, int]:
    """Return the number of successful responses of each copy, after the first `since` lines of nginx's log."""
    lines = service.log.read_text().splitlines()[since:]
    return {copy.name: sum(f":{copy.port} 2" in line for line in lines) for copy in service.copies}


def lines(service) -> int:
    return len(service.log.read_text().splitlines())


class TestTwoCopies:
    def test_share_the_work_and_lose_nothing(self, service, phones):
        with write_and_sync(phones):
            time.sleep(SECONDS)

        assert all(count > 5 for count in responses(service).values())
        assert [phone.finds_everything() for phone in phones] == [True] * PHONES
        assert sum(phone.unanswered for phone in phones) == 0

    def test_lose_nothing_if_one_is_killed_and_restarted(self, service, phones):
        one = service.copies[0]
        with write_and_sync(phones):
            time.sleep(SECONDS)
            one.kill()
            before = lines(service)
            time.sleep(SECONDS)
            alone = responses(service, before)
            one.start()
            before = lines(service)
            wait_until(lambda: responses(service, before)["one"] > 5, "nginx sends it no more requests")

        assert alone["two"] > 5
        assert alone["one"] <= PHONES  # sent before the kill, and written to the log after it
        assert [phone.finds_everything() for phone in phones] == [True] * PHONES
        # At most the requests that copy one was handling when it was killed. nginx sent all others to copy two.
        assert sum(phone.unanswered for phone in phones) <= PHONES

    def test_agree_on_a_token(self, service, phones):
        phone, ports = phones[0], [copy.port for copy in service.copies]
        old = phone.token

        phone.token = new = phone.request("POST", "/v1/auth/rotate", accepted={200})["token"]
        assert [status_at(port, token) for token in (old, new, old) for port in ports] == [200] * 4 + [401] * 2

        phone.request("DELETE", "/v1/devices/me", accepted={204})
        assert [status_at(port, new) for port in ports] == [401] * 2

    def test_use_few_connections_of_postgresql(self, service, phones, postgres, pooler):
        with write_and_sync(phones):
            time.sleep(SECONDS / 2)
            ((servers,),) = postgres.run("SELECT count(*) FROM pg_stat_activity WHERE datname = 'copies'")
            clients = connections_to(pooler, "copies")

        assert 0 < servers <= 3 < clients

    def test_continue_after_a_restart_of_pgbouncer(self, service, phones, pooler):
        with write_and_sync(phones):
            time.sleep(SECONDS / 4)
        pooler.stop()
        wait_until(lambda: service.copies[0].status("/readyz") == 503, "the copies don't notice that PgBouncer stopped")
        pooler.start()

        with write_and_sync(phones):
            time.sleep(SECONDS / 4)

        assert [phone.finds_everything() for phone in phones] == [True] * PHONES


def status_at(port: int, token: str) -> int:
    return Phone(port, token=token).get("/v1/devices/me").status_code


def connections_to(pooler, database: str) -> int:
    with psycopg.connect(f"postgres://postgres@127.0.0.1:{pooler.port}/pgbouncer", autocommit=True) as console:
        console.row_factory = dict_row
        return sum(client["database"] == database for client in console.execute("SHOW CLIENTS"))
