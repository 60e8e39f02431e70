"""Measure how long a request waits for the database, if metrics are turned on."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import local
from time import perf_counter

from django.db import DEFAULT_DB_ALIAS, connections


class Timer(local):
    """The seconds that this thread has waited for the database during the current request."""

    seconds = 0.0


_timer = Timer()


def start() -> None:
    """Reset the timer, and measure the queries of this thread's connection."""
    _timer.seconds = 0.0
    connection = connections[DEFAULT_DB_ALIAS]
    if measure_query not in connection.execute_wrappers:
        connection.execute_wrappers.append(measure_query)
        # Django's execute_wrappers don't see commits, and most of the waiting of a write is its commit.
        connection.commit = measured_commit(connection.commit)


def seconds_waited() -> float:
    return _timer.seconds


@contextmanager
def measure() -> Iterator[None]:
    """Add the time of this block. Use it for what Django's execute_wrappers don't see."""
    started = perf_counter()
    try:
        yield
    finally:
        _timer.seconds += perf_counter() - started


def measure_query(execute, sql, params, many, context):
    started = perf_counter()
    try:
        return execute(sql, params, many, context)
    finally:
        _timer.seconds += perf_counter() - started


def measured_commit(commit):
    """Return a function that commits, and adds the time that this takes."""

    def measure_commit() -> None:
        with measure():
            commit()

    return measure_commit
