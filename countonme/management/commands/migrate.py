import time
from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings
from django.core.management.base import CommandError
from django.core.management.commands.migrate import Command as Migrate
from django.db import OperationalError, connections

LOCK = 5_206_741_203  # any number, the same in every version
ASKED_EVERY = 1.0  # seconds
IN_USE = "55P03"  # lock_not_available
TOO_LONG = "57014"  # query_canceled


class Command(Migrate):
    help = (
        f"{Migrate.help} On PostgreSQL one at a time, and giving up rather than letting the service wait: "
        "MIGRATE_LOCK_TIMEOUT, MIGRATE_STATEMENT_TIMEOUT."
    )

    def handle(self, *args, **options) -> None:
        connection = connections[options["database"]]
        if connection.vendor != "postgresql" or options["check_unapplied"] or options["plan"]:
            super().handle(*args, **options)
            return
        with self.alone(connection), self.bounded(connection):
            super().handle(*args, **options)

    @contextmanager
    def alone(self, connection) -> Iterator[None]:
        """Wait until nobody else migrates this database. The lock is gone with the connection, however it ends."""
        until = time.monotonic() + settings.MIGRATE_WAIT
        while not asked(connection, "SELECT pg_try_advisory_lock(%s)", LOCK):
            if time.monotonic() > until:
                raise CommandError(
                    f"Another migration has been running for {settings.MIGRATE_WAIT} s. Try again later."
                )
            self.stderr.write("Another migration is running. Waiting for its end.")
            time.sleep(ASKED_EVERY)
        try:
            yield
        finally:
            if is_open(connection):
                asked(connection, "SELECT pg_advisory_unlock(%s)", LOCK)

    @contextmanager
    def bounded(self, connection) -> Iterator[None]:
        """Give up where a table is in use, or a statement takes too long: whoever comes after it would wait as well."""
        timeouts = {
            "lock_timeout": settings.MIGRATE_LOCK_TIMEOUT,
            "statement_timeout": settings.MIGRATE_STATEMENT_TIMEOUT,
        }
        before = {name: asked(connection, "SELECT current_setting(%s)", name) for name in timeouts}
        for name, seconds in timeouts.items():
            asked(connection, "SELECT set_config(%s, %s, false)", name, f"{seconds}s")
        try:
            yield
        except OperationalError as error:
            if reason := reason_of(error):
                raise CommandError(
                    f"{reason} What was being changed is as it was (an index may be left INVALID); "
                    "what is applied stays. Run migrate again."
                ) from error
            raise
        finally:
            for name, value in before.items() if is_open(connection) else ():
                asked(connection, "SELECT set_config(%s, %s, false)", name, value)


def is_open(connection) -> bool:
    return connection.connection is not None and not connection.connection.closed


def asked(connection, sql: str, *params):
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return cursor.fetchone()[0]


def reason_of(error: OperationalError) -> str | None:
    state = getattr(error.__cause__, "sqlstate", None)
    if state == IN_USE:
        return f"A table is in use, for longer than MIGRATE_LOCK_TIMEOUT, {settings.MIGRATE_LOCK_TIMEOUT} s."
    if state == TOO_LONG:
        return f"A statement took longer than MIGRATE_STATEMENT_TIMEOUT, {settings.MIGRATE_STATEMENT_TIMEOUT} s."
    return None
