"""The migrate command on a PostgreSQL database that is in use. Each test has its own database."""

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
    """The connection parameters of the tests' server."""
    names = {"HOST": "host", "PORT": "port", "USER": "user", "PASSWORD": "password"}
    return {names[key]: value for key, value in connection.settings_dict.items() if key in names and value}


@pytest.fixture
def encoding() -> str:
    return "UTF8"


@pytest.fixture
def empty(server, encoding):
    """The URL of a new database."""
    name = f"{connection.settings_dict['NAME']}_migrated"
    with psycopg.connect(**server, dbname="postgres", autocommit=True) as administration:
        administration.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        administration.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}' LOCALE 'C'")
        user = f"{server.get('user', '')}:{server['password']}" if "password" in server else server.get("user", "")
        yield f"postgres://{user}@{server.get('host', '')}:{server.get('port', 5432)}/{name}"
        administration.execute(f"DROP DATABASE {name} WITH (FORCE)")


def start_migrate(url: str, *arguments: str, **environment: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "manage.py", "migrate", "--no-color", *arguments],
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": url, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen) -> tuple[int, str, str]:
    output, errors = process.communicate(timeout=60)
    return process.returncode, output, errors


def applied_migrations(output: str) -> list[str]:
    return re.findall(r"Applying (\S+)\.\.\. OK", output)


class TestEncoding:
    @pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
    def test_must_be_utf8(self, empty, encoding):
        code, output, errors = finish(start_migrate(empty))

        assert code == 1
        assert errors == f"CommandError: The database has the encoding {encoding}. Create it with the encoding UTF8.\n"
        assert applied_migrations(output) == []


class TestTwoMigrations:
    def test_are_applied_once(self, empty):
        processes = [start_migrate(empty) for _ in range(2)]

        (first, one, _), (second, other, _) = map(finish, processes)

        assert first == second == 0
        assert "devices.0001_initial" in applied_migrations(one) + applied_migrations(other)
        assert sorted(map(bool, (applied_migrations(one), applied_migrations(other)))) == [False, True]

    def test_wait_for_each_other_for_a_limited_time(self, empty):
        with psycopg.connect(empty, autocommit=True) as other:
            other.execute("SELECT pg_advisory_lock(%s)", [migrate.LOCK])

            code, output, errors = finish(start_migrate(empty, MIGRATE_WAIT="1"))

        assert code == 1
        assert "Another migration is running. Waiting for its end." in errors
        assert errors.endswith("CommandError: Another migration has been running for 1 s. Try again later.\n")
        assert applied_migrations(output) == []

    def test_are_not_blocked_by_a_killed_one(self, empty):
        killed = psycopg.connect(empty, autocommit=True)
        killed.execute("SELECT pg_advisory_lock(%s)", [migrate.LOCK])
        waiting = start_migrate(empty)
        assert waiting.stderr.readline() == "Another migration is running. Waiting for its end.\n"

        killed.close()

        code, output, _ = finish(waiting)
        assert code == 0
        assert applied_migrations(output)


class TestATableInUse:
    def test_stops_the_migration_which_can_be_run_again(self, empty):
        assert finish(start_migrate(empty, "devices", "0002"))[0] == 0
        with psycopg.connect(empty) as reader:
            reader.execute("SELECT count(*) FROM devices")  # its transaction stays open
            begun = time.monotonic()

            code, output, errors = finish(start_migrate(empty, "devices", "0003", MIGRATE_LOCK_TIMEOUT="1"))

            assert time.monotonic() - begun < 20
            assert code == 1
            assert errors.endswith(
                "CommandError: A table is in use for longer than MIGRATE_LOCK_TIMEOUT (1 s). "
                "The failed operation was rolled back (an index may be left INVALID). "
                "Migrations that were applied stay applied. "
                "Run migrate again.\n"
            )
            assert applied_migrations(output) == []
        code, output, _ = finish(start_migrate(empty, "devices", "0003", MIGRATE_LOCK_TIMEOUT="1"))
        assert code == 0
        assert applied_migrations(output) == ["devices.0003_purge_and_restore"]


class TestAnIndexOfATableInUse:
    def test_is_created_and_dropped_by_the_next_run(self, empty):
        old, new = "food_entry_by_day", "food_entry_by_day_and_meal"
        assert finish(start_migrate(empty, "food_entries", "0004"))[0] == 0

        with read(empty):
            assert stopped_by_the_lock(start_migrate(empty, "food_entries", "0005", MIGRATE_LOCK_TIMEOUT="1"))
            assert indexes_by_day(empty) == {old: "valid", new: "invalid"}
        assert finish(start_migrate(empty, "food_entries", "0005"))[0] == 0
        assert indexes_by_day(empty) == {old: "valid", new: "valid"}

        with read(empty):
            for _ in range(2):
                assert stopped_by_the_lock(start_migrate(empty, "food_entries", "0006", MIGRATE_LOCK_TIMEOUT="1"))
                assert indexes_by_day(empty) == {old: "invalid", new: "valid"}
        assert finish(start_migrate(empty, "food_entries", "0006"))[0] == 0
        assert indexes_by_day(empty) == {new: "valid"}

        assert finish(start_migrate(empty, "food_entries", "0004"))[0] == 0
        assert indexes_by_day(empty) == {old: "valid"}


@contextmanager
def read(url: str) -> Iterator[None]:
    """Run this block while another transaction keeps a snapshot of the entries."""
    with psycopg.connect(url) as reader:
        reader.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        reader.execute("SELECT count(*) FROM food_entries")
        yield


def stopped_by_the_lock(process: subprocess.Popen) -> bool:
    code, output, errors = finish(process)
    return (code, applied_migrations(output)) == (1, []) and "A table is in use" in errors


def indexes_by_day(url: str) -> dict[str, str]:
    query = """SELECT relname, CASE WHEN indisvalid THEN 'valid' ELSE 'invalid' END
        FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid WHERE relname LIKE 'food_entry_by_day%'"""
    with psycopg.connect(url) as database:
        return dict(database.execute(query).fetchall())


class TestASlowStatement:
    @pytest.mark.django_db(transaction=True)
    def test_stops_the_migration(self, settings, monkeypatch):
        settings.MIGRATE_STATEMENT_TIMEOUT = 1

        def sleep(*args, **options):
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_sleep(10)")

        monkeypatch.setattr(migrate.Migrate, "handle", sleep)
        timeout = "SELECT current_setting('statement_timeout')"
        before = migrate.fetch_value(connection, timeout)

        with pytest.raises(CommandError, match=r"A statement took longer than MIGRATE_STATEMENT_TIMEOUT \(1 s\)"):
            call_command("migrate")

        assert migrate.fetch_value(connection, timeout) == before
