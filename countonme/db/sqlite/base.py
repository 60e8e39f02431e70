"""Django's backend for SQLite, with a queue for writers.

Django requires this module's name: a backend is a package with a module `base`.
"""

import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from time import monotonic
from uuid import UUID

from django.db.backends.sqlite3 import base

from countonme.db.sqlite.write_queue import WriteQueue

# Statements that take SQLite's write lock, as Django writes them. BEGIN DEFERRED, for reads only, does not.
WRITES = re.compile(r"\s*(?:INSERT|UPDATE|DELETE|REPLACE|BEGIN\s+(?:IMMEDIATE|EXCLUSIVE))\b", re.IGNORECASE)

queue = WriteQueue()


@contextmanager
def turn_to_write(connection: sqlite3.Connection) -> Iterator[None]:
    """Run a statement that takes SQLite's write lock when it is this connection's turn.

    The connection's `busy_timeout` bounds the whole wait: in the queue, and then for a writer in another process. So
    `devices.models.no_lock_wait()` holds here too. Raise `sqlite3.OperationalError` after that.
    """
    (timeout,) = connection.execute("PRAGMA busy_timeout").fetchone()  # milliseconds
    end = monotonic() + timeout / 1000
    if not queue.acquire(connection, timeout / 1000):
        raise sqlite3.OperationalError("database is locked by other writers of this process")
    try:
        set_busy_timeout(connection, max(0, round(1000 * (end - monotonic()))))
        yield
    finally:
        set_busy_timeout(connection, timeout)


def set_busy_timeout(connection: sqlite3.Connection, milliseconds: int) -> None:
    connection.execute(f"PRAGMA busy_timeout = {milliseconds:d}")


def end_turn_after_transaction(connection: sqlite3.Connection) -> None:
    if not connection.in_transaction:
        queue.release(connection)


# Conversions to the driver's types. Django's fields do the same.
TO_DRIVER = {
    UUID: lambda value: value.hex,
    date: date.isoformat,
    list: lambda ids: json.dumps([str(value).replace("-", "") for value in ids]),  # there are no arrays
}


class Cursor(base.SQLiteCursorWrapper):
    def execute(self, query, params=None):
        return self.in_turn(query, super().execute, query, params)

    def executemany(self, query, param_list):
        return self.in_turn(query, super().executemany, query, param_list)

    def in_turn(self, query: str, execute, *args):
        try:
            if self.connection.in_transaction or not WRITES.match(query):
                return execute(*args)
            with turn_to_write(self.connection):
                return execute(*args)
        finally:
            end_turn_after_transaction(self.connection)


class DatabaseWrapper(base.DatabaseWrapper):
    """With the option `queue_writers`, a connection waits for its turn before it takes the write lock.

    The turn ends when the lock is released. A transaction begins with a statement, but it doesn't always end with one:
    hence the methods below.
    """

    def get_connection_params(self) -> dict:
        params = super().get_connection_params()
        self.cursor_class = Cursor if params.pop("queue_writers", False) else base.SQLiteCursorWrapper
        return params

    def create_cursor(self, name=None):
        return self.connection.cursor(factory=self.cursor_class)

    def commit(self):
        try:
            super().commit()
        finally:
            self.end_turn_after_transaction()

    def rollback(self):
        try:
            super().rollback()
        finally:
            self.end_turn_after_transaction()

    def set_autocommit(self, *args, **kwargs):
        try:
            super().set_autocommit(*args, **kwargs)  # sqlite3 commits an open transaction here
        finally:
            self.end_turn_after_transaction()

    def close(self):
        connection = self.connection
        try:
            super().close()
        finally:
            queue.release(connection)

    def execute_cached(self, sql: str, params: list):
        """Run a statement and return its cursor. Only the backend for PostgreSQL caches cursors."""
        cursor = self.cursor()
        cursor.execute(sql, params)
        return cursor

    def fetch_cached(self, sql: str, params: list, *, for_json: bool = False) -> list[tuple]:
        """Run a query and return its rows. `for_json` changes nothing: the compiled query converts the values."""
        return self.execute_cached(sql, params).fetchall()

    def fetch_chunks(self, sql: str, params: list, size: int, *, for_json: bool = False) -> Iterator[list[tuple]]:
        """Run a query and yield its rows in lists of `size`."""
        with self.chunked_cursor() as cursor:
            cursor.execute(sql, params)
            while rows := cursor.fetchmany(size):
                yield rows

    def to_driver(self, value):
        """Return a value in sqlite3's types."""
        convert = TO_DRIVER.get(type(value))
        return value if convert is None else convert(value)

    def end_turn_after_transaction(self) -> None:
        if self.connection is not None:
            end_turn_after_transaction(self.connection)
