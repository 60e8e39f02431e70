"""A database that goes away, as a running service meets it, and comes back."""

import json
import os
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from copy import deepcopy
from http.client import HTTPConnection
from uuid import uuid4

import psycopg
import pytest
from django.db import OperationalError, connection, connections

from benchmarks.processes import ROOT
from countonme.tests.relay import Relay
from countonme.tests.served import served, url_of
from countonme.timeouts import ask_whether_it_is_there, at_length, base, give_up_after

SOON = 2.5  # seconds: the two of the contract, and a busy machine
BREAD = {"name": "Rye bread", "kcal_100g": 259}
THREADS = 6


@pytest.fixture(scope="module")
def relay():
    here = connection.settings_dict
    relay = Relay(here["HOST"] or "127.0.0.1", int(here["PORT"] or 5432))
    yield relay
    relay.close()


@pytest.fixture(scope="module")
def service(live_url, relay, tmp_path_factory):
    """A service whose way to PostgreSQL is the relay."""
    name = live_url.rpartition("/")[2]
    with served(url_of(name, relay.port), tmp_path_factory.mktemp("service") / "log") as service:
        service.register()
        yield service


@pytest.fixture
def connected(service):
    """The service, all of whose threads have a connection to the database."""
    for _ in range(3):
        assert is_served_again(service)
    return service


def is_served_again(service) -> bool:
    """Say whether all are served soon."""
    end = time.monotonic() + 2 * SOON
    while time.monotonic() < end:
        if all_at_once(service, "GET", "/v1/products")[0] == {200}:
            return True
        time.sleep(0.1)
    return False


def all_at_once(service, *request) -> tuple[set[int], float]:
    """Ask three times as often as there are threads, at once; return the statuses, and how long the last one took."""
    with ThreadPoolExecutor(3 * THREADS) as pool:
        answers = list(pool.map(lambda _: service.timed(*request), range(3 * THREADS)))
    return {status for status, _ in answers}, max(seconds for _, seconds in answers)


@pytest.mark.postgres
class TestADatabaseThatIsAway:
    @pytest.mark.parametrize("times", [1, 2])
    def test_is_told_soon_where_it_does_not_answer_any_more(self, connected, relay, times):
        relay.flowing.clear()
        try:
            for _ in range(times):
                statuses, seconds = all_at_once(connected, "GET", "/v1/products")
                assert (statuses, seconds < SOON) == ({503}, True)
            status, body, headers = connected.ask("GET", "/readyz")
            assert (status, body, headers["Retry-After"]) == (503, {"detail": "The database cannot be reached"}, "5")
            assert connected.ask("GET", "/healthz")[0] == 200
        finally:
            relay.flowing.set()

        assert is_served_again(connected)

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
    def test_is_told_soon_whatever_is_asked(self, connected, relay, method, path, body):
        relay.flowing.clear()
        try:
            status, _, headers = connected.ask(method, path, body)
            statuses, seconds = all_at_once(connected, method, path, body)
        finally:
            relay.flowing.set()

        if path != "/admin/login/":  # which has no need of it
            assert (status, statuses, headers["Retry-After"]) == (503, {503}, "5")
        assert seconds < SOON

    def test_is_not_noticed_where_it_started_anew_meanwhile(self, connected, relay):
        relay.cut()

        assert all_at_once(connected, "GET", "/v1/products")[0] == {200}

    def test_is_told_at_once_where_nobody_listens_and_served_from_as_soon_as_it_is_there(self, connected, relay):
        relay.close()
        try:
            status, body, headers = connected.ask("POST", "/v1/products", BREAD)
            statuses, seconds = all_at_once(connected, "GET", "/v1/products")
        finally:
            relay.open(relay.port)

        assert (status, body, headers["Retry-After"]) == (503, {"detail": "Service unavailable"}, "5")
        assert (statuses, seconds < 1) == ({503}, True)
        assert all_at_once(connected, "GET", "/v1/products")[0] == {200}


@contextmanager
def lock_of_another_process(live_url, device_id):
    """Hold the device's row locked inside of this block; on SQLite, which has one lock, everything."""
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
class TestALockThatSomebodyElseHolds:
    @pytest.fixture
    def alone(self, live_url, tmp_path):
        """A service that gives up after 1.5 seconds, on SQLite after 2: 20 times 0.1."""
        told = {"DATABASE_TIMEOUT": "0.1"} if connection.vendor == "sqlite" else {}
        with served(live_url, tmp_path / "log", **told) as service:
            service.register()
            yield service

    def test_is_not_waited_for_longer_and_nothing_is_stored_till_it_is_free(self, alone, live_url):
        device_id = alone.register()

        with lock_of_another_process(live_url, device_id):
            pushed, pushing = alone.timed("POST", "/v1/sync?last_pulled_at=1", {"products": {"deleted": []}})
            posted, posting = alone.timed("POST", "/v1/products", BREAD)
            assert alone.ask("GET", "/v1/products")[:2] == (200, [])

        assert (pushed, pushing < SOON, posted, posting < SOON) == (503, True, 503, True)
        assert alone.ask("POST", "/v1/products", BREAD)[0] == 201
        assert [row["name"] for row in alone.ask("GET", "/v1/products")[1]] == ["Rye bread"]


@pytest.mark.skipif(connection.vendor != "sqlite", reason="is about SQLite's one lock")
class TestWritersOnSQLite:
    WRITERS = 16

    @pytest.fixture
    def service(self, live_url, tmp_path):
        """A service whose writers wait for 4 seconds: 20 times 0.2."""
        with served(live_url, tmp_path / "log", DATABASE_TIMEOUT="0.2") as service:
            service.register()
            yield service

    def write_until(self, service, end: float) -> list[int]:
        """Store products over one connection, as a phone does, and return the statuses."""
        statuses = []
        client = HTTPConnection("127.0.0.1", service.server.port, timeout=30)
        with closing(client):
            while time.monotonic() < end:
                headers = {"Content-Type": "application/json", **service.authorization}
                body = json.dumps({"name": f"Food {uuid4()}", "kcal_100g": 250})
                client.request("POST", "/v1/products", body, headers)
                answer = client.getresponse()
                answer.read()
                statuses.append(answer.status)
        return statuses

    def test_get_a_fair_share_each_and_no_503(self, service):
        end = time.monotonic() + 5
        with ThreadPoolExecutor(self.WRITERS) as pool:
            found = list(pool.map(lambda _: self.write_until(service, end), range(self.WRITERS)))

        assert {status for statuses in found for status in statuses} == {201}
        shares = sorted(map(len, found))
        assert shares[0] > shares[-1] / 2

    def test_wait_for_another_process_longer_than_for_postgresql_and_keep_no_reader_waiting(self, service, live_url):
        with ThreadPoolExecutor(self.WRITERS) as pool:
            with lock_of_another_process(live_url, None):
                writing = [
                    pool.submit(service.ask, "POST", "/v1/products", BREAD | {"name": f"Bread {n}"}) for n in range(16)
                ]
                time.sleep(1)
                reads = [service.timed("GET", "/v1/products") for _ in range(5)]
                assert not any(answer.done() for answer in writing)

            assert {answer.result()[0] for answer in writing} == {201}
        assert [(status, seconds < 0.5) for status, seconds in reads] == [(200, True)] * 5


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
class TestAStatement:
    @pytest.fixture(autouse=True)
    def _impatient(self, monkeypatch):
        """Give up on the database after a fifth of a second, and ask it again at once."""
        monkeypatch.setattr(base, "silence", base.Silence())
        monkeypatch.setattr(base, "PAUSE", 0)
        here = connections["default"]
        database = deepcopy(here.settings_dict)
        give_up_after(0.2, database)
        connections["default"] = connections.create_connection("default")
        del connections["default"]
        connections.settings["default"], before = database, connections.settings["default"]
        yield
        connections["default"].close()
        connections.settings["default"] = before
        connections["default"] = here

    def took(self, seconds: float) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(%s)", [seconds])

    def test_is_given_up_on_and_the_next_one_gets_a_new_connection(self):
        began = time.monotonic()

        with pytest.raises(OperationalError, match=r"has not answered in 0\.2 seconds"):
            self.took(5)

        assert time.monotonic() - began < 1
        connection.close_if_unusable_or_obsolete()
        self.took(0)

    def test_whose_answer_is_not_the_servers_own_is_given_up_on_with_its_connection(self):
        """A pooler whose server died tells of it twice, where psycopg expects one answer."""
        connection.ensure_connection()
        driver = connection.connection

        def answered_twice():
            yield from ()
            raise psycopg.InternalError("received 2 results from command 'BEGIN'")

        with pytest.raises(psycopg.OperationalError, match="received 2 results"):
            driver.wait(answered_twice())

        assert driver.closed

    def test_that_the_server_could_not_do_is_told_as_it_is(self):
        connection.ensure_connection()

        def refused():
            yield from ()
            raise psycopg.errors.InternalError_("cache lookup failed")

        with pytest.raises(psycopg.InternalError, match="cache lookup failed"):
            connection.connection.wait(refused())

        assert not connection.connection.closed

    def test_on_many_rows_may_take_longer(self):
        with at_length():
            self.took(0.5)

        with pytest.raises(OperationalError):
            self.took(0.5)

    def test_that_was_in_vain_keeps_others_from_asking_for_a_moment(self, monkeypatch):
        monkeypatch.setattr(base, "PAUSE", 60)
        with pytest.raises(OperationalError):
            self.took(5)
        connection.close()

        with pytest.raises(OperationalError, match="silent a moment ago"):
            self.took(0)

    def test_that_asks_for_nothing_is_given_up_on_where_the_database_is_silent(self):
        here = connection.settings_dict
        silent = Relay(here["HOST"] or "127.0.0.1", int(here["PORT"] or 5432))
        connection.settings_dict = {**here, "HOST": "127.0.0.1", "PORT": str(silent.port)}
        connection.ensure_connection()
        silent.flowing.clear()
        began = time.monotonic()

        with pytest.raises(OperationalError):
            ask_whether_it_is_there()

        assert time.monotonic() - began < 1
        silent.flowing.set()
        silent.close()

    @pytest.mark.direct
    def test_that_nobody_waits_for_is_ended_by_the_server(self):
        with connection.cursor() as cursor:
            cursor.execute("SELECT current_setting('lock_timeout'), current_setting('statement_timeout')")

            assert cursor.fetchone() == ("180ms", "4s")


class TestWhoWaits:
    @pytest.mark.parametrize(
        ("process", "database", "shown"),
        [
            ("countonme.wsgi", "sqlite:///x", "countonme.sqlite 30.0"),
            ("countonme.urls", "sqlite:///x", "django.db.backends.sqlite3 10"),
            ("countonme.wsgi", "postgres://127.0.0.1/x", "countonme.timeouts None"),
            ("countonme.urls", "postgres://127.0.0.1/x", "django.db.backends.postgresql None"),
        ],
    )
    def test_is_a_command_and_not_who_serves(self, process, database, shown):
        statement = (
            f"import django; django.setup(); import {process}; from django.db import connection as c;"
            "print(c.settings_dict['ENGINE'], c.settings_dict['OPTIONS'].get('timeout'))"
        )

        run = subprocess.run(
            [sys.executable, "-c", statement],
            cwd=ROOT,
            env={**os.environ, "DATABASE_URL": database, "DATABASE_TIMEOUT": "1.5"},
            capture_output=True,
            text=True,
        )

        assert run.stdout.strip() == shown, run.stderr

    def test_is_everybody_where_the_time_out_is_0(self):
        database = {"ENGINE": "django.db.backends.postgresql", "OPTIONS": {}}

        give_up_after(0, database)

        assert database == {"ENGINE": "django.db.backends.postgresql", "OPTIONS": {}}

    def test_queues_for_sqlite_for_a_day_if_the_timeout_is_0(self):
        database = {"ENGINE": "django.db.backends.sqlite3", "OPTIONS": {"timeout": 10}}

        give_up_after(0, database)

        assert database == {"ENGINE": "countonme.sqlite", "OPTIONS": {"timeout": 86_400}}

    def test_is_the_client_alone_behind_a_pooler(self):
        database = {"ENGINE": "django.db.backends.postgresql", "OPTIONS": {"prepare_threshold": None}}

        give_up_after(2, database)

        assert database["ENGINE"] == "countonme.timeouts"
        assert "options" not in database["OPTIONS"]

    def test_keeps_what_an_operator_said(self):
        database = {
            "ENGINE": "django.db.backends.postgresql",
            "OPTIONS": {"prepare_threshold": 2, "options": "-c statement_timeout=1s"},
        }

        give_up_after(2, database)

        assert database["OPTIONS"]["options"].endswith("-c statement_timeout=1s")
