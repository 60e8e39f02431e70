"""Timeouts of the process that serves requests: PostgreSQL ends a slow statement, and a silent database is given up on.

The request then gets a `503`, and its thread is free again. Management commands wait as long as it takes: only
`countonme/wsgi.py` asks for timeouts. On SQLite, writers wait for each other, and longer: `countonme/db/sqlite`.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from django.db import connection

from countonme.db.availability import retry_if_connection_died

LONG = 20  # times as long, for a statement on very many rows, and for SQLite's writers, which wait for each other
A_DAY = 24 * 60 * 60  # seconds

times: ContextVar[int] = ContextVar("times", default=1)


def give_up_after(seconds: float, database: dict) -> None:
    """Limit each statement of this process to so many seconds; 0 means no limit.

    On SQLite only a lock makes a connection wait: its writers queue, and give up after LONG times as many seconds.

    `database` is its entry in DATABASES. Connections that are open already keep what they have.
    """
    options = database.setdefault("OPTIONS", {})
    if database["ENGINE"] == "countonme.db.sqlite":
        options |= {"queue_writers": True, "timeout": LONG * seconds or A_DAY}  # for others; a file always answers
    elif seconds:
        options |= {"give_up_after": seconds, **whether_the_host_is_there(seconds)}
        if options.get("prepare_threshold") is not None:  # a pooler refuses settings of a connection
            options["options"] = with_limits(options.get("options", ""), seconds)


def whether_the_host_is_there(seconds: float) -> dict:
    """Return the settings by which a connection to a host that has vanished dies, however long it may be waited for."""
    return {
        "keepalives_idle": 2,
        "keepalives_interval": 1,
        "keepalives_count": 3,
        "tcp_user_timeout": round(seconds * 1000),
    }


def with_limits(options: str, seconds: float) -> str:
    """Return a connection's options with the limits that the server keeps. What an operator has set stays.

    The limit for locks is half of the other one. A lock is mostly held by another request of the same device, such as a
    large push. A request that waits for it holds a thread that other devices need.
    """
    limits = {
        "lock_timeout": round(500 * seconds),
        "statement_timeout": round(1000 * seconds),
        "client_connection_check_interval": 1000,  # a statement ends soon after its client has died
    }
    ours = [
        f"-c {name}={milliseconds}" for name, milliseconds in limits.items() if not re.search(rf"\b{name}\b", options)
    ]
    return " ".join([*ours, options]).strip()


def gives_up() -> bool:
    """Return whether this process limits its statements on PostgreSQL."""
    return "give_up_after" in connection.settings_dict["OPTIONS"]


@contextmanager
def at_length() -> Iterator[None]:
    """Let a statement take LONG times as long inside of this block, because it reads or writes many rows.

    Use it after a statement that had the ordinary limit, so that a silent database has been noticed already.
    """
    if times.get() == LONG:
        yield
        return
    token = times.set(LONG)
    try:
        with longer_limit():
            yield
    finally:
        times.reset(token)


@contextmanager
def longer_limit() -> Iterator[None]:
    """Raise the server's limit for this thread's connection inside of this block, if the server has one."""
    if not gives_up():
        yield
        return
    connection.ensure_connection()
    driver = connection.connection
    if not driver.has_server_limit:
        yield
        return
    with connection.wrap_database_errors:
        driver.raise_limit(LONG)
    try:
        yield
    finally:
        driver.reset_limit()
        if driver.closed and driver is connection.connection:
            connection.close()


def ask_whether_it_is_there() -> None:
    """Give up on a database that is away, where this process gives up at all."""
    if gives_up():
        retry_if_connection_died(is_there)


def is_there() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
