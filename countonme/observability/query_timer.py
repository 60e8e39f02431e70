"""How long the request that a thread serves has waited for the database. Counted only where metrics are."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import local
from time import perf_counter

from django.db import DEFAULT_DB_ALIAS, connections


class Waited(local):
    seconds = 0.0


_waited = Waited()


def begin() -> None:
    """Start from nothing, and see to it that this thread's connection is watched."""
    _waited.seconds = 0.0
    connection = connections[DEFAULT_DB_ALIAS]
    if timed not in connection.execute_wrappers:
        connection.execute_wrappers.append(timed)
        # A commit is no query for Django, and for a write it is most of the waiting.
        connection.commit = timed_commit(connection.commit)


def waited() -> float:
    return _waited.seconds


@contextmanager
def counted() -> Iterator[None]:
    """Add the time that this block takes: for what is no query for Django."""
    started = perf_counter()
    try:
        yield
    finally:
        _waited.seconds += perf_counter() - started


def timed(execute, sql, params, many, context):
    started = perf_counter()
    try:
        return execute(sql, params, many, context)
    finally:
        _waited.seconds += perf_counter() - started


def timed_commit(commit):
    def committed() -> None:
        with counted():
            commit()

    return committed
