"""Database outages and timeouts, in a running service and in a connection of the web process."""

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from copy import deepcopy
from threading import Event
from uuid import uuid4

import psycopg
import pytest
from django.db import OperationalError, ProgrammingError, connection, connections, transaction

from countonme.api.errors import TooSlow
from countonme.db.postgresql import base, extended_timeout, ping_if_limited, set_timeout
from devices.models import Device
from tests.harness.databases import url_of
from tests.harness.phone import NoResponse, Phone, Response
from tests.harness.processes import ROOT, wait_until
from tests.harness.relay import Relay
from tests.harness.service import serve, server_of_tests

METRICS_TOKEN = "only-for-tests-of-timeouts"
SOON = 2.5  # seconds: two, and a margin for a busy machine
BREAD = {"name": "Rye bread", "kcal_100g": 259}
THREADS = 6
SLEEP = """
    CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN PERFORM pg_sleep({}); RETURN NEW; END $$
"""


@pytest.fixture(scope="module")
def relay():
    here = connection.settings_dict
    relay = Relay(here["HOST"] or "127.0.0.1", int(here["PORT"] or 5432))
    yield relay
    relay.close()


@pytest.fixture(scope="module")
def service(live_url, relay, tmp_path_factory):
    """A service that connects to PostgreSQL through the relay."""
    name = live_url.rpartition("/")[2]
    url, log = url_of(name, server_of_tests(relay.port)), tmp_path_factory.mktemp("service") / "log"
    with serve(url, log, METRICS_TOKEN=METRICS_TOKEN) as service:
        service.register()
        yield service


@pytest.fixture
def connected(service):
    """The service, after all of its threads have connected to the database."""
    for _ in range(3):
        assert is_served_again(service)
    return service


def is_served_again(service) -> bool:
    """Return whether all requests succeed soon."""
    end = time.monotonic() + 2 * SOON
    while time.monotonic() < end:
        if all_at_once(service, "GET", "/v1/products")[0] == {200}:
            return True
        time.sleep(0.1)
    return False


def all_at_once(service, *request) -> tuple[set[int], float]:
    """Send three requests per thread at once. Return the statuses, and the seconds of the slowest response."""
    with ThreadPoolExecutor(3 * THREADS) as pool:
        responses = list(pool.map(lambda _: service.phone.send(*request), range(3 * THREADS)))
    return {response.status_code for response in responses}, max(response.seconds for response in responses)


def error_of(response: Response) -> tuple[int, str, str]:
    return response.status_code, response.json()["detail"], response.headers["Retry-After"]


@pytest.mark.postgres
class TestAnOutageOfTheDatabase:
    @pytest.mark.parametrize("times", [1, 2])
    def test_gets_503_soon_if_the_database_is_silent(self, connected, relay, times):
        relay.flowing.clear()
        try:
            for _ in range(times):
                statuses, seconds = all_at_once(connected, "GET", "/v1/products")
                assert (statuses, seconds < SOON) == ({503}, True)
            assert error_of(connected.phone.get("/readyz")) == (503, "The database cannot be reached", "5")
            assert connected.phone.get("/healthz").status_code == 200
        finally:
            relay.flowing.set()

        assert is_served_again(connected)

    def test_is_shown_by_the_metrics_soon(self, connected, relay):
        prometheus = Phone(connected.phone.port, token=METRICS_TOKEN)
        relay.flowing.clear()
        try:
            responses = [prometheus.get("/metrics") for _ in range(3)]
        finally:
            relay.flowing.set()

        for response in responses:
            assert b"\ncountonme_ready 0.0\n" in response.content
            assert response.seconds < 2 * SOON

    @pytest.mark.parametrize(
        ("method", "path", "body"),
        [
            ("POST", "/v1/products", BREAD),
            ("POST", "/v1/sync?last_pulled_at=1", {}),
            ("GET", "/v1/sync", None),
            ("POST", "/v1/auth/register", {"device_id": "0d9c3c5e-3f2b-4c41-9b0e-6a3b6a6f2c11"}),
            ("GET", "/admin/login/", None),
        ],
    )
    def test_gets_503_soon_for_every_request(self, connected, relay, method, path, body):
        relay.flowing.clear()
        try:
            response = connected.phone.send(method, path, body)
            statuses, seconds = all_at_once(connected, method, path, body)
        finally:
            relay.flowing.set()

        if path != "/admin/login/":  # it does not use the database
            assert (response.status_code, statuses, response.headers["Retry-After"]) == (503, {503}, "5")
        assert seconds < SOON

    def test_is_not_noticed_after_a_restart(self, connected, relay):
        relay.cut()

        assert all_at_once(connected, "GET", "/v1/products")[0] == {200}
        relay.cut()
        assert b"\ncountonme_last_backup" in Phone(connected.phone.port, token=METRICS_TOKEN).get("/metrics").content

    def test_gets_503_at_once_if_the_port_is_closed_and_ends_when_it_opens(self, connected, relay):
        relay.close()
        try:
            response = connected.phone.post("/v1/products", BREAD)
            statuses, seconds = all_at_once(connected, "GET", "/v1/products")
        finally:
            relay.open(relay.port)

        assert error_of(response) == (503, "Service unavailable", "5")
        assert (statuses, seconds < 1) == ({503}, True)
        assert all_at_once(connected, "GET", "/v1/products")[0] == {200}


@contextmanager
def lock_of_another_process(live_url, device_id):
    """Lock the device's row in this block. On SQLite, which has one lock, lock the database."""
    if connection.vendor == "sqlite":
        holder = sqlite3.connect(live_url.removeprefix("sqlite:///"), isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
    else:
        holder = psycopg.connect(live_url)
        holder.execute("SELECT 1 FROM devices WHERE id = %s FOR UPDATE", [device_id])
    try:
        yield
    finally:
        holder.rollback()
        holder.close()


@pytest.mark.direct
class TestALockOfAnotherProcess:
    @pytest.fixture
    def alone(self, live_url, tmp_path):
        """A service with a timeout of 1.5 seconds, on SQLite of 2: 20 times 0.1."""
        settings = {"DATABASE_TIMEOUT": "0.1"} if connection.vendor == "sqlite" else {}
        with serve(live_url, tmp_path / "log", **settings) as service:
            service.register()
            yield service

    def test_gets_503_soon_and_nothing_is_stored(self, alone, live_url):
        device_id = alone.register()

        with lock_of_another_process(live_url, device_id):
            refused = [
                alone.phone.post("/v1/sync?last_pulled_at=1", {"products": {"deleted": []}}),
                alone.phone.post("/v1/products", BREAD),
            ]
            assert alone.phone.get("/v1/products").json() == []

        assert [(response.status_code, response.seconds < SOON) for response in refused] == [(503, True)] * 2
        assert alone.phone.post("/v1/products", BREAD).status_code == 201
        assert [row["name"] for row in alone.phone.get("/v1/products").json()] == ["Rye bread"]


@pytest.mark.skipif(connection.vendor != "sqlite", reason="is about SQLite's one lock")
class TestWritersOnSQLite:
    WRITERS = 16

    @pytest.fixture
    def service(self, live_url, tmp_path):
        """A service whose writers wait for 4 seconds: 20 times 0.2."""
        with serve(live_url, tmp_path / "log", DATABASE_TIMEOUT="0.2") as service:
            service.register()
            yield service

    def write_until(self, service, end: float) -> list[int]:
        """Store products over one connection, as a phone does, and return the statuses."""
        statuses = []
        with Phone(service.server.port, token=service.phone.token, keeps_connection=True) as phone:
            while time.monotonic() < end:
                body = {"name": f"Food {uuid4()}", "kcal_100g": 250}
                statuses.append(phone.post("/v1/products", body).status_code)
        return statuses

    def test_get_equal_shares_and_no_503(self, service):
        end = time.monotonic() + 5
        with ThreadPoolExecutor(self.WRITERS) as pool:
            found = list(pool.map(lambda _: self.write_until(service, end), range(self.WRITERS)))

        assert {status for statuses in found for status in statuses} == {201}
        shares = sorted(map(len, found))
        assert shares[0] > shares[-1] / 2

    def test_wait_for_another_process_without_delaying_readers(self, service, live_url):
        with ThreadPoolExecutor(self.WRITERS) as pool:
            with lock_of_another_process(live_url, None):
                writing = [
                    pool.submit(service.phone.post, "/v1/products", BREAD | {"name": f"Bread {n}"}) for n in range(16)
                ]
                time.sleep(1)
                reads = [service.phone.get("/v1/products") for _ in range(5)]
                assert not any(future.done() for future in writing)

            assert {future.result().status_code for future in writing} == {201}
        assert [(read.status_code, read.seconds < 0.5) for read in reads] == [(200, True)] * 5


@pytest.mark.postgres
@pytest.mark.direct
class TestASlowStatement:
    """A trigger makes the database sleep for as many seconds as a product has kcal, if its name is `Slow`."""

    SLOW = {"name": "Slow", "kcal_100g": 20}

    @pytest.fixture
    def slow_url(self, live_url):
        with psycopg.connect(live_url, autocommit=True) as database:
            database.execute(SLEEP.format("NEW.kcal_100g"))
            database.execute(
                "CREATE TRIGGER slow BEFORE INSERT ON products FOR EACH ROW WHEN (NEW.name = 'Slow')"
                " EXECUTE FUNCTION slow()"
            )
        yield live_url
        with psycopg.connect(live_url, autocommit=True) as database:
            database.execute("DROP TRIGGER slow ON products; DROP FUNCTION slow()")

    @pytest.fixture(params=[""], ids=["direct"])
    def one(self, slow_url, tmp_path, request):
        """A service whose threads all have a connection to the database, and a device."""
        settings = {"DATABASE_POOLER": request.param, "LOG_FORMAT": "json"}
        with serve(slow_url, tmp_path / "log", **settings) as service:
            service.register()
            for _ in range(3):
                assert is_served_again(service)
            yield service

    @pytest.fixture
    def slow_ones(self, one):
        """Two devices that each keep a thread busy. Statements of the same device would wait for each other."""
        phones = [Phone(one.server.port) for _ in range(2)]
        for phone in phones:
            phone.register()
        return phones

    @pytest.mark.parametrize("one", ["", "transaction"], ids=["direct", "pooled"], indirect=True)
    def test_fails_alone(self, one, slow_ones, slow_url):
        before = backends(slow_url).keys()
        with ThreadPoolExecutor(len(slow_ones)) as pool:
            slow = [pool.submit(phone.post, "/v1/products", self.SLOW) for phone in 3 * slow_ones]
            statuses = []
            while not all(future.done() for future in slow):
                statuses.append(one.phone.get("/v1/products").status_code)
                statuses.append(one.phone.post("/v1/products", BREAD).status_code)
                time.sleep(0.02)

        assert len(statuses) > 10
        assert set(statuses) == {200, 201}
        assert {error_of(future.result()) for future in slow} == {(503, TooSlow.default_detail, "5")}
        assert backends(slow_url).keys() == before
        assert not is_running(slow_url)
        assert slow_ones[0].get("/v1/products").json() == []

    def test_is_logged_as_slow_and_not_as_an_outage(self, one):
        assert one.phone.post("/v1/products", self.SLOW).status_code == 503

        lines = one.lines()
        logged = [(line["level"], line["message"]) for line in lines if line["logger"] == "countonme.api.errors"]
        assert logged == [("WARNING", TooSlow.log_line)]
        assert not [line for line in lines if "traceback" in line]

    def test_ends_soon_after_its_worker_has_died(self, one, slow_url):
        body = {"products": {"created": [{"id": str(uuid4()), **self.SLOW}]}}
        with ThreadPoolExecutor(1) as pool:
            pushed = pool.submit(one.phone.post, "/v1/sync?last_pulled_at=1", body)
            wait_until(lambda: is_running(slow_url), "it does not run", timeout=SOON)
            time.sleep(1)  # until it has been running for a while
            for worker in one.workers():
                os.kill(worker, signal.SIGKILL)
            assert isinstance(pushed.exception(), NoResponse)

        wait_until(lambda: not is_running(slow_url), "it still runs", timeout=SOON)


def backends(url: str) -> dict[int, str]:
    """Return the states of the processes that serve the service's connections, by their ids."""
    with psycopg.connect(url) as database:
        found = database.execute(
            "SELECT pid, state FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            " AND backend_type = 'client backend'"
        )
        return dict(found)


def is_running(url: str) -> bool:
    return "active" in backends(url).values()


@contextmanager
def short_limits(**options):
    """Connect this thread to the tests' database as the web process does, with a timeout of 0.2 seconds."""
    here = connections["default"]
    database = deepcopy(here.settings_dict)
    database["OPTIONS"] |= options
    set_timeout(0.2, database)
    connections["default"] = connections.create_connection("default")
    del connections["default"]
    connections.settings["default"], before = database, connections.settings["default"]
    yield
    connections["default"].close()
    connections.settings["default"] = before
    connections["default"] = here


@contextmanager
def silent_database():
    """Let the database stop responding, on this thread's open connection and on new ones."""
    connection.close()
    here = connection.settings_dict
    relay = Relay(here["HOST"] or "127.0.0.1", int(here["PORT"] or 5432))
    connection.settings_dict = {**here, "HOST": "127.0.0.1", "PORT": str(relay.port)}
    connection.ensure_connection()
    relay.flowing.clear()
    yield
    relay.flowing.set()
    relay.close()
    connection.settings_dict = here


def sleep(seconds: float) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(%s)", [seconds])


def shown(name: str) -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting(%s)", [name])
        return cursor.fetchone()[0]


def backend() -> int:
    connection.ensure_connection()
    return connection.connection.info.backend_pid


@pytest.fixture
def breaker(monkeypatch):
    """A new circuit breaker, which allows the next attempt at once."""
    monkeypatch.setattr(base, "breaker", base.CircuitBreaker())
    monkeypatch.setattr(base, "PAUSE", 0)
    return base.breaker


class TestAConnection:
    def test_times_out_sooner_than_in_psycopg(self, breaker):
        with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(psycopg.errors.ConnectionTimeout):
            began = time.monotonic()
            base.Connection.connect(statement_limit=0.2, host="127.0.0.1", port=silent.getsockname()[1])

        assert time.monotonic() - began < 1.5
        assert breaker.is_open

    def test_times_out_if_the_name_server_is_silent(self, breaker, monkeypatch):
        answer = Event()
        monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: answer.wait(10))

        try:
            with pytest.raises(psycopg.errors.ConnectionTimeout, match="look-up of the database's host name"):
                began = time.monotonic()
                base.Connection.connect(statement_limit=0.2, host="db.example.org")
        finally:
            answer.set()

        assert time.monotonic() - began < 1.5
        assert breaker.is_open

    @pytest.mark.parametrize("error", [socket.gaierror(-2, "Name or service not known"), UnicodeError("too long")])
    def test_fails_at_once_if_its_host_has_no_address(self, breaker, monkeypatch, error):
        def look_up(*args, **kwargs):
            raise error

        monkeypatch.setattr(socket, "getaddrinfo", look_up)

        with pytest.raises(psycopg.OperationalError) as raised:
            base.Connection.connect(statement_limit=10, host="db.example.org")

        assert str(raised.value) == f"The database's host name 'db.example.org' has no address: {error}"
        assert not breaker.is_open

    def test_tries_each_address_and_keeps_the_name(self, monkeypatch):
        monkeypatch.setattr(
            socket, "getaddrinfo", lambda *args, **kwargs: [(0, 0, 0, "", ("::1", 0)), (0, 0, 0, "", ("127.0.0.1", 0))]
        )

        params = base.add_addresses({"host": "db.example.org", "port": 5432}, 1)

        assert params == {"host": "db.example.org,db.example.org", "hostaddr": "::1,127.0.0.1", "port": 5432}

    @pytest.mark.parametrize(
        "params",
        [{}, {"host": "/run/postgresql"}, {"host": "@socket"}, {"host": "one,two"}, {"host": "a", "hostaddr": "::1"}],
    )
    def test_looks_up_single_names_only(self, params):
        assert base.add_addresses(params, 1) == params


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
class TestAStatement:
    """On a direct connection, and behind a pooler, where the server has no limit."""

    @pytest.fixture(
        autouse=True, params=[pytest.param(2, marks=pytest.mark.direct, id="direct"), None], ids=["", "pooled"]
    )
    def _limited(self, breaker, request):
        with short_limits(prepare_threshold=request.param):
            yield

    def test_fails_alone_if_it_is_slow_and_the_connection_stays(self, breaker):
        before, began = backend(), time.monotonic()

        with pytest.raises(OperationalError) as raised:
            sleep(5)

        assert isinstance(raised.value.__cause__, psycopg.errors.QueryCanceled)
        assert time.monotonic() - began < 1
        assert not breaker.is_open
        sleep(0)
        assert backend() == before

    def test_rolls_back_its_transaction_if_it_is_slow(self):
        before = backend()

        with pytest.raises(OperationalError), transaction.atomic():
            Device.objects.create(id=uuid4(), token_hash="x")
            sleep(5)

        assert not Device.objects.exists()
        assert backend() == before

    def test_rolls_back_to_its_savepoint_if_it_is_slow(self):
        with transaction.atomic():
            Device.objects.create(id=uuid4(), token_hash="x")
            with pytest.raises(OperationalError), transaction.atomic():
                sleep(5)

        assert Device.objects.count() == 1

    def test_may_take_longer_if_it_has_many_rows(self):
        with extended_timeout():
            sleep(0.5)

        with pytest.raises(OperationalError):
            sleep(0.5)

    def test_may_take_longer_in_transactions_if_it_has_many_rows(self):
        with extended_timeout(), transaction.atomic():
            sleep(0.5)
        with transaction.atomic(), extended_timeout():
            sleep(0.5)

        with pytest.raises(OperationalError):
            sleep(0.5)

    def test_opens_the_circuit_breaker_if_the_database_is_silent(self, breaker):
        with silent_database():
            began = time.monotonic()
            with pytest.raises(OperationalError, match="does not react") as raised:
                sleep(0)

            assert time.monotonic() - began < 1.5
        assert not isinstance(raised.value.__cause__, psycopg.errors.QueryCanceled)
        assert breaker.is_open
        connection.close_if_unusable_or_obsolete()
        sleep(0)
        assert not breaker.is_open

    def test_times_out_while_a_large_one_is_sent(self):
        with silent_database(), pytest.raises(OperationalError), connection.cursor() as cursor:
            cursor.execute("SELECT length(%s)", ["x" * 50_000_000])

    def test_stops_others_from_connecting_for_a_moment_if_the_database_is_silent(self, monkeypatch):
        monkeypatch.setattr(base, "PAUSE", 60)
        with silent_database(), pytest.raises(OperationalError):
            sleep(0)
        connection.close()

        with pytest.raises(OperationalError, match="did not react a moment ago"):
            sleep(0)

    def test_times_out_in_a_ping_if_the_database_is_silent(self):
        with silent_database():
            began = time.monotonic()

            with pytest.raises(OperationalError):
                ping_if_limited()

            assert time.monotonic() - began < 1.5

    def test_closes_the_connection_after_an_error_of_a_pooler(self):
        """A pooler whose server died sends two errors, and psycopg expects one result."""
        connection.ensure_connection()
        driver = connection.connection

        def respond_twice():
            yield from ()
            raise psycopg.InternalError("received 2 results from command 'BEGIN'")

        with pytest.raises(psycopg.OperationalError, match="received 2 results"):
            driver.wait(respond_twice())

        assert driver.closed

    def test_keeps_the_connection_after_an_internal_error_of_the_server(self):
        connection.ensure_connection()

        def fail():
            yield from ()
            raise psycopg.errors.InternalError_("cache lookup failed")

        with pytest.raises(psycopg.InternalError, match="cache lookup failed"):
            connection.connection.wait(fail())

        assert not connection.connection.closed


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
class TestAStatementThatEndsAfterItsCancel:
    @pytest.mark.parametrize("is_delivered", [True, False])
    def test_keeps_its_connection_unless_the_cancel_may_still_arrive(self, breaker, monkeypatch, is_delivered):
        def cancel_safe(self, **kwargs):
            if not is_delivered:
                raise psycopg.errors.CancellationTimeout

        monkeypatch.setattr(base.Connection, "cancel_safe", cancel_safe)
        with short_limits(prepare_threshold=None):
            before = backend()

            with pytest.raises(OperationalError, match="too slow"):
                sleep(0.45)

            assert not breaker.is_open
            connection.close_if_unusable_or_obsolete()
            assert (backend() == before) == is_delivered


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
class TestACommit:
    @pytest.fixture(params=["0.5"])
    def deferred(self, request):
        """A trigger that makes the commit of a new device take half a second, or as long as the test says."""
        with connection.cursor() as cursor:
            cursor.execute(SLEEP.format(request.param))
            cursor.execute(
                "CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON devices DEFERRABLE INITIALLY DEFERRED"
                " FOR EACH ROW EXECUTE FUNCTION slow()"
            )
        yield
        with connection.cursor() as cursor:
            cursor.execute("DROP TRIGGER slow ON devices; DROP FUNCTION slow()")

    def test_is_never_cancelled_by_the_client(self, breaker, deferred, monkeypatch):
        cancelled = []
        monkeypatch.setattr(base.Connection, "cancel_safe", lambda self, **kwargs: cancelled.append(self))

        with short_limits(prepare_threshold=None), transaction.atomic():
            Device.objects.create(id=uuid4(), token_hash="x")

        assert Device.objects.count() == 1
        assert cancelled == []

    @pytest.mark.parametrize("deferred", ["3"], indirect=True)
    def test_is_no_outage_if_it_can_not_be_cancelled(self, breaker, deferred):
        with short_limits(prepare_threshold=None):
            with pytest.raises(OperationalError, match="does not react"), transaction.atomic():
                Device.objects.create(id=uuid4(), token_hash="x")

            assert not breaker.is_open
            connection.close_if_unusable_or_obsolete()
            sleep(0)


@pytest.mark.direct
@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
class TestTheServersLimit:
    @pytest.fixture(autouse=True)
    def _limited(self, breaker):
        with short_limits():
            yield

    def test_ends_a_slow_statement_before_the_client_cancels_it(self, monkeypatch):
        cancelled = []
        monkeypatch.setattr(base.Connection, "cancel_safe", lambda self, **kwargs: cancelled.append(self))

        with pytest.raises(OperationalError, match="due to statement timeout"):
            sleep(5)

        assert cancelled == []

    def test_is_set_with_the_connection(self):
        assert (shown("lock_timeout"), shown("statement_timeout")) == ("100ms", "200ms")
        assert shown("client_connection_check_interval") == "1s"

    def test_is_extended_inside_the_block_and_reset_after_it(self):
        with extended_timeout():
            assert shown("statement_timeout") == "4s"
            with extended_timeout():
                pass
            assert (shown("lock_timeout"), shown("statement_timeout")) == ("100ms", "4s")

        assert shown("statement_timeout") == "200ms"

    def test_is_reset_after_an_error(self):
        with pytest.raises(ProgrammingError), extended_timeout(), connection.cursor() as cursor:
            cursor.execute("SELECT nothing")

        assert shown("statement_timeout") == "200ms"

    @pytest.mark.parametrize("order", [(extended_timeout, transaction.atomic), (transaction.atomic, extended_timeout)])
    def test_is_reset_after_an_error_in_a_transaction(self, order):
        outer, inner = order
        with pytest.raises(ProgrammingError), outer(), inner(), connection.cursor() as cursor:
            cursor.execute("SELECT nothing")

        assert shown("statement_timeout") == "200ms"

    def test_is_reset_after_a_connection_was_lost(self):
        before = backend()

        with pytest.raises(OperationalError), extended_timeout(), connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")

        assert shown("statement_timeout") == "200ms"
        assert backend() != before

    def test_closes_its_connection_if_it_can_not_be_reset(self, monkeypatch):
        before = backend()
        with extended_timeout():
            monkeypatch.setattr(connection.connection, "execute", raise_operational_error)

        assert backend() != before
        assert shown("statement_timeout") == "200ms"


def raise_operational_error(*args, **kwargs):
    raise psycopg.OperationalError


class TestProcesses:
    @pytest.mark.parametrize(
        ("process", "database", "shown"),
        [
            ("countonme.wsgi", "sqlite:///x", "None 30.0"),
            ("countonme.urls", "sqlite:///x", "None 10"),
            ("countonme.wsgi", "postgres://127.0.0.1/x", "1.5 None"),
            ("countonme.urls", "postgres://127.0.0.1/x", "None None"),
        ],
    )
    def test_have_a_timeout_only_if_they_serve(self, process, database, shown):
        statement = (
            f"import django; django.setup(); import {process}; from django.db import connection as c;"
            "print(*(c.settings_dict['OPTIONS'].get(name) for name in ('statement_limit', 'timeout')))"
        )

        run = subprocess.run(
            [sys.executable, "-c", statement],
            cwd=ROOT,
            env={**os.environ, "DATABASE_URL": database, "DATABASE_TIMEOUT": "1.5"},
            capture_output=True,
            text=True,
        )

        assert run.stdout.strip() == shown, run.stderr

    def test_have_no_timeout_if_it_is_0(self):
        database = {"ENGINE": "countonme.db.postgresql", "OPTIONS": {}}

        set_timeout(0, database)

        assert database == {"ENGINE": "countonme.db.postgresql", "OPTIONS": {}}

    def test_queue_for_a_day_on_sqlite_if_the_timeout_is_0(self):
        database = {"ENGINE": "countonme.db.sqlite", "OPTIONS": {"timeout": 10}}

        set_timeout(0, database)

        assert database == {"ENGINE": "countonme.db.sqlite", "OPTIONS": {"queue_writers": True, "timeout": 86_400}}

    def test_have_no_limit_of_the_server_behind_a_pooler(self):
        database = {"ENGINE": "countonme.db.postgresql", "OPTIONS": {"prepare_threshold": None}}

        set_timeout(2, database)

        assert database["OPTIONS"]["statement_limit"] == 2
        assert "options" not in database["OPTIONS"]

    def test_keep_the_limits_of_the_operator(self):
        options = "-c statement_timeout=1s -c deadlock_timeout=2s"
        database = {
            "ENGINE": "countonme.db.postgresql",
            "OPTIONS": {"prepare_threshold": 2, "options": options},
        }

        set_timeout(2, database)

        added = "-c lock_timeout=1000 -c client_connection_check_interval=1000"
        assert database["OPTIONS"]["options"] == f"{added} {options}"
