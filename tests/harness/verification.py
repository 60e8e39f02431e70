"""Compare each run of a compiled query in the tests' process with the ORM's query, if VERIFY_COMPILED_QUERIES=1.

Tests don't notice the ORM's query: it isn't counted, and `execute_wrappers` don't get it. Another thread may commit
between the two queries, so both are repeated, and only a difference that persists is an error.
"""

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from decimal import Decimal
from uuid import UUID

from django.db import connection
from django.db.models import QuerySet

from countonme.db.compiled.query import CompiledQuery
from countonme.db.compiled.rows import JSON, MODELS, Mode

ATTEMPTS = 10

run, json_chunks = CompiledQuery.run, CompiledQuery.json_chunks


def enable_if_requested() -> None:
    if os.environ.get("VERIFY_COMPILED_QUERIES") == "1":
        CompiledQuery.run, CompiledQuery.json_chunks = verified_run, verified_chunks


@contextmanager
def disable() -> Iterator[None]:
    """Compare nothing inside the block, where a test measures time or memory."""
    before = CompiledQuery.run, CompiledQuery.json_chunks
    CompiledQuery.run, CompiledQuery.json_chunks = run, json_chunks
    try:
        yield
    finally:
        CompiledQuery.run, CompiledQuery.json_chunks = before


def verified_run(query: CompiledQuery, mode: Mode, limit: int | None, offset: int, values: dict) -> list:
    rows = run(query, mode, limit, offset, values)
    with hidden_from_tests():
        verify(query, mode, rows, limit, offset, values)
    return rows


def verified_chunks(query: CompiledQuery, size: int, **values) -> Iterator[list[dict]]:
    offset = 0
    with closing(json_chunks(query, size, **values)) as chunks:
        for rows in chunks:
            with hidden_from_tests():
                if difference := compare(query, JSON, rows, query.function(**values)[offset : offset + size]):
                    raise AssertionError(difference)
            offset += len(rows)
            yield rows
            del rows  # free the memory before the next rows are read
    with hidden_from_tests():
        assert not query.function(**values)[offset:].exists()


@contextmanager
def hidden_from_tests() -> Iterator[None]:
    """Run queries inside the block that tests neither count nor interfere with."""
    before = connection.force_debug_cursor, connection.execute_wrappers
    connection.force_debug_cursor, connection.execute_wrappers = False, []
    try:
        yield
    finally:
        connection.force_debug_cursor, connection.execute_wrappers = before


def verify(query: CompiledQuery, mode: Mode, rows: list, limit: int | None, offset: int, values: dict) -> None:
    """Raise AssertionError if the ORM returns other rows than these."""
    page = slice(None) if limit is None else slice(offset, offset + limit)
    for _ in range(ATTEMPTS):
        difference = compare(query, mode, rows, query.function(**values)[page])
        if difference is None:
            return
        rows = run(query, mode, limit, offset, values)
    raise AssertionError(difference)


def compare(query: CompiledQuery, mode: Mode, rows: list, queryset: QuerySet) -> str | None:
    """Return how the rows of a run differ from the queryset's, or None."""
    found = [typed_values(row, mode) for row in rows]
    expected = [typed_values(row, mode, as_json=mode.for_json) for row in queryset]
    if not queryset.ordered:
        found, expected = sorted(found, key=repr), sorted(expected, key=repr)
    if found == expected:
        return None
    return (
        f"{mode.method}() of {query.function} differs from the ORM.\n\nSQL: {queryset.query}\n\n"
        f"Compiled: {found}\n\nORM: {expected}"
    )


def typed_values(row, mode: Mode, *, as_json: bool = False) -> list[tuple]:
    """Return a row's values, each with its type and its name or position."""
    if mode is MODELS:
        state = {"state": (type(row), row._state.adding, row._state.db, row._state.fields_cache)}
        items = {name: value for name, value in vars(row).items() if name != "_state"} | state
    else:
        items = row if isinstance(row, dict) else dict(enumerate(row))
    values = {name: json_value(value) if as_json else value for name, value in items.items()}
    return [(name, type(value), value) for name, value in values.items()]


def json_value(value):
    """Convert a value of the ORM as `json()` does."""
    if isinstance(value, UUID):
        return str(value)
    return float(value) if isinstance(value, Decimal) else value
