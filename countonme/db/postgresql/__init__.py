"""Database timeouts of the web process: slow statements are cancelled, connections to a silent database are closed.

The request then gets a `503`, and its thread is free again. Management commands have no timeout: only
`countonme/wsgi.py` sets one. On SQLite, writers wait for each other, and longer: `countonme/db/sqlite`.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from django.db import connection

from countonme.db.availability import retry_if_connection_died

EXTENSION = 20  # factor for statements on many rows, and for SQLite's writers, which wait for each other
ONE_DAY = 24 * 60 * 60  # seconds

timeout_factor: ContextVar[int] = ContextVar("timeout_factor", default=1)


def set_timeout(seconds: float, database: dict) -> None:
    """Limit each statement of this process to `seconds`; 0 means no limit.

    On SQLite a connection waits only for a lock: its writers queue, for at most EXTENSION times `seconds`.

    `database` is an entry of DATABASES. Open connections are not changed.
    """
    options = database.setdefault("OPTIONS", {})
    if database["ENGINE"] == "countonme.db.sqlite":
        options |= {"queue_writers": True, "timeout": EXTENSION * seconds or ONE_DAY}
    elif seconds:
        options |= {"statement_limit": seconds, **keepalive_options(seconds)}
        if options.get("prepare_threshold") is not None:  # a pooler refuses settings of a connection
            options["options"] = add_server_limits(options.get("options", ""), seconds)


def keepalive_options(seconds: float) -> dict:
    """Return TCP options that close a connection if its host has vanished, even during an extended timeout."""
    return {
        "keepalives_idle": 2,
        "keepalives_interval": 1,
        "keepalives_count": 3,
        "tcp_user_timeout": round(seconds * 1000),
    }


def add_server_limits(options: str, seconds: float) -> str:
    """Return the connection's `options` with the limits that the server enforces. Those that are set already stay.

    The limit for locks is half of the limit for statements. Mostly, another request of the same device holds the lock,
    such as a large push. A request that waits for it occupies a thread that other devices need.
    """
    limits = {
        "lock_timeout": round(500 * seconds),
        "statement_timeout": round(1000 * seconds),
        "client_connection_check_interval": 1000,  # a statement ends soon after its client has died
    }
    missing = [
        f"-c {name}={milliseconds}" for name, milliseconds in limits.items() if not re.search(rf"\b{name}\b", options)
    ]
    return " ".join([*missing, options]).strip()


def has_timeout() -> bool:
    """Return whether this process limits its statements on PostgreSQL."""
    return "statement_limit" in connection.settings_dict["OPTIONS"]


@contextmanager
def extended_timeout() -> Iterator[None]:
    """Multiply the timeout by EXTENSION in this block, for statements that read or write many rows.

    Use it after a statement with the ordinary timeout, which detects a silent database sooner.
    """
    if timeout_factor.get() == EXTENSION:
        yield
        return
    token = timeout_factor.set(EXTENSION)
    try:
        with extended_server_limit():
            yield
    finally:
        timeout_factor.reset(token)


@contextmanager
def extended_server_limit() -> Iterator[None]:
    """Raise the server's limit for this thread's connection in this block, if the server has one."""
    if not has_timeout():
        yield
        return
    connection.ensure_connection()
    driver = connection.connection
    if not driver.has_server_limit:
        yield
        return
    with connection.wrap_database_errors:
        driver.raise_limit(EXTENSION)
    try:
        yield
    finally:
        driver.reset_limit()
        if driver.closed and driver is connection.connection:
            connection.close()


def ping_if_limited() -> None:
    """If this process has a timeout, run a query, which detects a database that does not respond."""
    if has_timeout():
        retry_if_connection_died(ping)


def ping() -> None:
    """Run a query. Raise an error if the database is unavailable."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


def encoding_fault(connection) -> str | None:
    """Return why the database can't store every text, or None if it can. The connection must be open."""
    if connection.vendor != "postgresql":
        return None
    encoding = connection.connection.info.parameter_status("server_encoding")  # the server has sent it
    if encoding in (None, "UTF8"):
        return None
    return f"The database has the encoding {encoding}. Create it with the encoding UTF8."
