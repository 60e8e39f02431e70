"""`manage.py migrate`, with a lock against parallel runs and with database timeouts on PostgreSQL."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings
from django.core.management.base import CommandError
from django.core.management.commands.migrate import Command as Migrate
from django.db import OperationalError, connections

from countonme.db.availability import LOCK_NOT_AVAILABLE, QUERY_CANCELED, sqlstate_of
from countonme.db.postgresql import encoding_fault
from countonme.management.database import connect_or_stop

LOCK = 5_206_741_203  # an arbitrary number, the same in every version
RETRY_INTERVAL = 1.0  # seconds


class Command(Migrate):
    help = (
        f"{Migrate.help} On PostgreSQL, only one migrate command runs at a time, and it stops if it would block the "
        "service for too long (MIGRATE_LOCK_TIMEOUT, MIGRATE_STATEMENT_TIMEOUT)."
    )

    def handle(self, *args, **options) -> None:
        connection = connections[options["database"]]
        if connection.vendor != "postgresql" or options["check_unapplied"] or options["plan"]:
            super().handle(*args, **options)
            return
        connect_or_stop(connection)
        if fault := encoding_fault(connection):
            raise CommandError(fault)
        with self.lock(connection), self.limit_statements(connection):
            super().handle(*args, **options)

    @contextmanager
    def lock(self, connection) -> Iterator[None]:
        """Wait until no other process migrates this database. PostgreSQL releases the lock with the connection."""
        end = time.monotonic() + settings.MIGRATE_WAIT
        while not fetch_value(connection, "SELECT pg_try_advisory_lock(%s)", LOCK):
            if time.monotonic() > end:
                raise CommandError(
                    f"Another migration has been running for {settings.MIGRATE_WAIT} s. Try again later."
                )
            self.stderr.write("Another migration is running. Waiting for its end.")
            time.sleep(RETRY_INTERVAL)
        try:
            yield
        finally:
            if is_open(connection):
                fetch_value(connection, "SELECT pg_advisory_unlock(%s)", LOCK)

    @contextmanager
    def limit_statements(self, connection) -> Iterator[None]:
        """Set timeouts for locks and statements. Requests queue behind a migration that waits for a lock or is slow."""
        timeouts = {
            "lock_timeout": settings.MIGRATE_LOCK_TIMEOUT,
            "statement_timeout": settings.MIGRATE_STATEMENT_TIMEOUT,
        }
        before = {name: fetch_value(connection, "SELECT current_setting(%s)", name) for name in timeouts}
        for name, seconds in timeouts.items():
            fetch_value(connection, "SELECT set_config(%s, %s, false)", name, f"{seconds}s")
        try:
            yield
        except OperationalError as error:
            if reason := timeout_reason(error):
                raise CommandError(
                    f"{reason} The failed operation was rolled back (an index may be left INVALID). "
                    "Migrations that were applied stay applied. Run migrate again."
                ) from error
            raise
        finally:
            if is_open(connection):
                for name, value in before.items():
                    fetch_value(connection, "SELECT set_config(%s, %s, false)", name, value)


def is_open(connection) -> bool:
    return connection.connection is not None and not connection.connection.closed


def fetch_value(connection, sql: str, *params):
    """Run a query and return its only value."""
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return cursor.fetchone()[0]


def timeout_reason(error: OperationalError) -> str | None:
    """Return which timeout the error means; None for any other error."""
    state = sqlstate_of(error)
    if state == LOCK_NOT_AVAILABLE:
        return f"A table is in use for longer than MIGRATE_LOCK_TIMEOUT ({settings.MIGRATE_LOCK_TIMEOUT} s)."
    if state == QUERY_CANCELED:
        return f"A statement took longer than MIGRATE_STATEMENT_TIMEOUT ({settings.MIGRATE_STATEMENT_TIMEOUT} s)."
    return None
