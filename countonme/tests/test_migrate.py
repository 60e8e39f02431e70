"""Migrations on a PostgreSQL that is in use: each test has a database of its own."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import connection

from countonme.management.commands import migrate

ROOT = Path(settings.BASE_DIR)
pytestmark = [pytest.mark.postgres, pytest.mark.direct]


@pytest.fixture
def server(django_db_setup) -> dict:
    """How the server of the tests is reached."""
    names = {"HOST": "host", "PORT": "port", "USER": "user", "PASSWORD": "password"}
    return {names[key]: value for key, value in connection.settings_dict.items() if key in names and value}


@pytest.fixture
def empty(server):
    """The URL of a new database."""
    name = f"{connection.settings_dict['NAME']}_migrated"
    with psycopg.connect(**server, dbname="postgres", autocommit=True) as administration:
        administration.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        administration.execute(f"CREATE DATABASE {name}")
        user = f"{server.get('user', '')}:{server['password']}" if "password" in server else server.get("user", "")
        yield f"postgres://{user}@{server.get('host', '')}:{server.get('port', 5432)}/{name}"
        administration.execute(f"DROP DATABASE {name} WITH (FORCE)")


def started(url: str, *arguments: str, **environment: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "manage.py", "migrate", "--no-color", *arguments],
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": url, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finished(process: subprocess.Popen) -> tuple[int, str, str]:
    said, erred = process.communicate(timeout=60)
    return process.returncode, said, erred


def applied(said: str) -> list[str]:
    return re.findall(r"Applying (\S+)\.\.\. OK", said)


class TestTwoAtOnce:
    def test_migrate_once(self, empty):
        processes = [started(empty) for _ in range(2)]

        (first, one, _), (second, other, _) = map(finished, processes)

        assert first == second == 0
        assert "devices.0001_initial" in applied(one) + applied(other)
        assert sorted(map(bool, (applied(one), applied(other)))) == [False, True]

    def test_wait_for_each_other_only_so_long(self, empty):
        with psycopg.connect(empty, autocommit=True) as other:
            other.execute("SELECT pg_advisory_lock(%s)", [migrate.LOCK])

            code, said, erred = finished(started(empty, MIGRATE_WAIT="1"))

        assert code == 1
        assert "Another migration is running. Waiting for its end." in erred
        assert erred.endswith("CommandError: Another migration has been running for 1 s. Try again later.\n")
        assert applied(said) == []

    def test_are_not_stopped_by_one_that_was_killed(self, empty):
        killed = psycopg.connect(empty, autocommit=True)
        killed.execute("SELECT pg_advisory_lock(%s)", [migrate.LOCK])
        waiting = started(empty)
        assert waiting.stderr.readline() == "Another migration is running. Waiting for its end.\n"

        killed.close()

        code, said, _ = finished(waiting)
        assert code == 0
        assert applied(said)


class TestATableThatIsInUse:
    def test_is_given_up_in_time_and_migrated_later(self, empty):
        assert finished(started(empty, "devices", "0002"))[0] == 0
        with psycopg.connect(empty) as reader:
            reader.execute("SELECT count(*) FROM devices")  # and its transaction goes on
            begun = time.monotonic()

            code, said, erred = finished(started(empty, "devices", "0003", MIGRATE_LOCK_TIMEOUT="1"))

            assert time.monotonic() - begun < 20
            assert code == 1
            assert erred.endswith(
                "CommandError: A table is in use, for longer than MIGRATE_LOCK_TIMEOUT, 1 s. "
                "What was being changed is as it was (an index may be left INVALID); what is applied stays. "
                "Run migrate again.\n"
            )
            assert applied(said) == []
        code, said, _ = finished(started(empty, "devices", "0003", MIGRATE_LOCK_TIMEOUT="1"))
        assert code == 0
        assert applied(said) == ["devices.0003_purge_and_restore"]


class TestAnIndexOfATableThatIsInUse:
    def test_is_made_and_dropped_by_whoever_migrates_again(self, empty):
        old, new = "food_entry_by_day", "food_entry_by_day_and_meal"
        assert finished(started(empty, "food_entries", "0004"))[0] == 0

        with read(empty):
            assert given_up(started(empty, "food_entries", "0005", MIGRATE_LOCK_TIMEOUT="1"))
            assert indexes_by_day(empty) == {old: "valid", new: "invalid"}
        assert finished(started(empty, "food_entries", "0005"))[0] == 0
        assert indexes_by_day(empty) == {old: "valid", new: "valid"}

        with read(empty):
            for _ in range(2):
                assert given_up(started(empty, "food_entries", "0006", MIGRATE_LOCK_TIMEOUT="1"))
                assert indexes_by_day(empty) == {old: "invalid", new: "valid"}
        assert finished(started(empty, "food_entries", "0006"))[0] == 0
        assert indexes_by_day(empty) == {new: "valid"}

        assert finished(started(empty, "food_entries", "0004"))[0] == 0
        assert indexes_by_day(empty) == {old: "valid"}


@contextmanager
def read(url: str) -> Iterator[None]:
    """Be in a transaction that may look at the entries of now until it ends."""
    with psycopg.connect(url) as reader:
        reader.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        reader.execute("SELECT count(*) FROM food_entries")
        yield


def given_up(process: subprocess.Popen) -> bool:
    code, said, erred = finished(process)
    return (code, applied(said)) == (1, []) and "A table is in use" in erred


def indexes_by_day(url: str) -> dict[str, str]:
    query = """SELECT relname, CASE WHEN indisvalid THEN 'valid' ELSE 'invalid' END
        FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid WHERE relname LIKE 'food_entry_by_day%'"""
    with psycopg.connect(url) as database:
        return dict(database.execute(query).fetchall())


class TestAStatementThatTakesLong:
    @pytest.mark.django_db(transaction=True)
    def test_is_given_up(self, settings, monkeypatch):
        settings.MIGRATE_STATEMENT_TIMEOUT = 1

        def sleep(*args, **options):
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_sleep(10)")

        monkeypatch.setattr(migrate.Migrate, "handle", sleep)
        timeout = "SELECT current_setting('statement_timeout')"
        before = migrate.asked(connection, timeout)

        with pytest.raises(CommandError, match="A statement took longer than MIGRATE_STATEMENT_TIMEOUT, 1 s"):
            call_command("migrate")

        assert migrate.asked(connection, timeout) == before
