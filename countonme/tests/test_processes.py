"""Processes that are terminated or killed, and clients that never finish their request."""

import os
import signal
import socket
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from uuid import uuid4

import psycopg
import pytest
from django.db import connection

from tests.harness.phone import NoResponse
from tests.harness.processes import wait_until
from tests.harness.service import serve
from tests.harness.sync import pull_changes

BREAD = {"name": "Rye bread", "kcal_100g": 259}


PATIENT = {"DATABASE_TIMEOUT": "20", "CLIENT_TIMEOUT": "1"}


@pytest.fixture(scope="module")
def lasting(live_url, tmp_path_factory):
    with serve(live_url, tmp_path_factory.mktemp("lasting") / "log", **PATIENT) as service:
        yield service


@pytest.fixture
def service(lasting):
    """The service, called by a new phone."""
    lasting.register()
    return lasting


@pytest.fixture
def ending(live_url, tmp_path):
    """A service that the test terminates."""
    with serve(live_url, tmp_path / "log", LOG_FORMAT="json", **PATIENT) as service:
        service.register()
        yield service


@contextmanager
def no_writes(live_url):
    """Block all writes inside of this block."""
    if connection.vendor == "sqlite":
        holder = sqlite3.connect(live_url.removeprefix("sqlite:///"), isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
    else:
        holder = psycopg.connect(live_url)
        holder.execute("LOCK TABLE devices IN SHARE MODE")
    yield
    holder.rollback()
    holder.close()


def products_body(count: int) -> dict:
    return {
        "products": {"created": [{"id": str(uuid4()), "name": f"Food {n}", "kcal_100g": 250} for n in range(count)]}
    }


def count_rows(service) -> dict[str, int]:
    changes = pull_changes(service.phone)["changes"]
    return {table: len(changes[table]["updated"]) for table in ("products", "portions")}


class TestATermination:
    @pytest.mark.parametrize("times", [1, 2])
    def test_lets_requests_finish(self, ending, live_url, times):
        with ThreadPoolExecutor(4) as pool:
            with no_writes(live_url):
                futures = [pool.submit(ending.phone.post, "/v1/products", BREAD) for _ in range(2)]
                time.sleep(1)
                for _ in range(times):
                    ending.process.send_signal(signal.SIGTERM)
                    time.sleep(0.5)
                assert not any(future.done() for future in futures)
                assert ending.process.poll() is None

            assert [future.result().status_code for future in futures] == [201, 201]
        assert ending.process.wait(10) == 0
        assert {line["logger"] for line in ending.lines()} == {"gunicorn.error", "countonme.requests"}

    def test_of_a_worker_lets_its_requests_finish_and_starts_another(self, service, live_url):
        workers = service.workers()

        with ThreadPoolExecutor(1) as pool:
            with no_writes(live_url):
                future = pool.submit(service.phone.post, "/v1/products", BREAD)
                time.sleep(1)
                for worker in workers:
                    os.kill(worker, signal.SIGTERM)
                time.sleep(0.5)

            assert future.result().status_code == 201
        service.wait_for_others(workers)
        assert service.phone.get("/v1/products").status_code == 200


class TestAKill:
    @pytest.mark.parametrize("after", [0.1, 0.4, 0.8, 1.2])
    def test_during_a_push_stores_all_of_it_or_nothing(self, service, after):
        body = products_body(3_000)

        with ThreadPoolExecutor(1) as pool:
            future = pool.submit(service.phone.post, "/v1/sync?last_pulled_at=1", body)
            time.sleep(after)
            for worker in service.workers():
                os.kill(worker, signal.SIGKILL)
            with suppress(NoResponse):
                future.result()

        wait_until(lambda: service.phone.get("/readyz").status_code == 200, "the service is not ready")
        assert count_rows(service) in ({"products": 0, "portions": 0}, {"products": 3_000, "portions": 3_000})
        assert service.phone.post("/v1/sync?last_pulled_at=1", body).status_code == 200
        assert count_rows(service) == {"products": 3_000, "portions": 3_000}

    @pytest.mark.postgres
    def test_between_two_statements_stores_nothing(self, service, live_url):
        body = products_body(10)
        entry = {"id": str(uuid4()), "product_id": body["products"]["created"][0]["id"], "date": "2026-01-05"}
        body["food_entries"] = {"created": [entry | {"grams": 1, "meal_type": "lunch"}]}
        with psycopg.connect(live_url) as other, ThreadPoolExecutor(1) as pool:
            other.execute("LOCK TABLE food_entries IN EXCLUSIVE MODE")
            future = pool.submit(service.phone.post, "/v1/sync?last_pulled_at=1", body)
            wait_until(lambda: waits_to_insert_entries(live_url), "nothing waits")
            for worker in service.workers():
                os.kill(worker, signal.SIGKILL)
            with pytest.raises(NoResponse):
                future.result()

        wait_until(lambda: service.phone.get("/readyz").status_code == 200, "the service is not ready")
        wait_until(lambda: not waits_to_insert_entries(live_url), "the statement still waits")
        assert count_rows(service) == {"products": 0, "portions": 0}
        assert service.phone.post("/v1/sync?last_pulled_at=1", body).status_code == 200


def waits_to_insert_entries(live_url) -> bool:
    with psycopg.connect(live_url) as watcher:
        found = watcher.execute(
            "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            " AND query LIKE 'INSERT INTO \"food_entries\"%'"
        )
        return found.fetchone() is not None


def send_and_wait(service, sent: str) -> tuple[bytes, float]:
    """Send only `sent`. Return the response until the server closes the connection, and the seconds that this took."""
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", service.server.port), timeout=15) as client:
        client.sendall(sent.encode())
        return b"".join(iter(lambda: client.recv(65536), b"")), time.monotonic() - began


class TestAClientThatStopsSending:
    HEAD = (
        "POST /v1/products HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {}\r\n"
        "Content-Type: application/json\r\n"
    )

    @pytest.mark.parametrize(
        "sent",
        [
            "POST /v1/prod",
            HEAD,
            HEAD + "Content-Length: 39\r\n\r\n",
            HEAD + 'Content-Length: 39\r\n\r\n{{"name": "Rye',
            HEAD + 'Content-Length: 40\r\n\r\n{{"name": "Rye bread", "kcal_100g": 259}}',
            HEAD + 'Transfer-Encoding: chunked\r\n\r\n27\r\n{{"name": "Rye',
        ],
        ids=["a line", "a head", "no body", "half a body", "all but a byte", "half a chunk"],
    )
    def test_is_disconnected_and_stores_nothing(self, service, sent):
        with ThreadPoolExecutor(6) as pool:
            responses = list(pool.map(lambda _: send_and_wait(service, sent.format(service.phone.token)), range(6)))

        assert all(response == b"" or response.startswith(b"HTTP/1.1 400 ") for response, _ in responses)
        assert max(seconds for _, seconds in responses) < 10
        assert service.phone.get("/v1/products").json() == []

    @pytest.mark.parametrize(
        ("headers", "status"),
        [
            ("Content-Length: 2000000\r\n", 413),
            ("Content-Length: 39\r\nContent-Encoding: gzip\r\n", 415),
            ("Transfer-Encoding: chunked\r\nContent-Encoding: gzip\r\n", 415),
        ],
    )
    def test_gets_the_error_that_its_headers_cause(self, service, headers, status):
        response, seconds = send_and_wait(service, f"{self.HEAD.format('none')}{headers}\r\n27\r\n")

        assert response.startswith(b"HTTP/1.1 %d " % status)
        assert seconds < 10

    def test_does_not_delay_others_before_it_sends_anything(self, service):
        clients = [socket.create_connection(("127.0.0.1", service.server.port)) for _ in range(4)]
        time.sleep(6)  # a thread waits 5 seconds for each of them

        assert all(service.phone.get("/healthz").seconds < 2 for _ in range(5))
        for client in clients:
            client.close()
