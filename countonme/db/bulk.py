"""Bulk insert and update: many rows in one statement, sent as one JSON parameter, on both databases.

Django's `bulk_create()` and `bulk_update()` use one parameter per value, and SQLite limits their number. An update has
a CASE for each value. Neither can return which rows were stored.
"""

from collections.abc import Iterator
from functools import cache

import orjson
from django.db import connection
from django.db.models import Field, Model

from countonme.db.statements import driver_values

BATCH = 1_000  # rows in one statement, so that their JSON takes little memory compared with the rows


def insert_if_id_is_free(rows: list[Model]) -> set:
    """Insert the rows whose primary key is free, in the given order. Return the inserted keys.

    If another transaction is inserting the same key, wait for its end. Other constraints raise IntegrityError as usual.
    """
    stored = set()
    for batch in in_batches(rows):
        stored |= insert_objects(type(batch[0]), {row.pk: to_object(row) for row in batch})
    for row in rows:
        row._state.adding, row._state.db = row.pk not in stored, connection.alias
    return stored


def insert_objects(model: type[Model], objects: dict) -> set:
    """Insert rows that `to_object()` has written, by their primary keys. Return the keys that were free."""
    stored = set()
    for batch in in_batches(list(objects)):
        with connection.cursor() as cursor:
            cursor.execute(insert_sql(model), [f"[{','.join(map(objects.get, batch))}]"])
            keys = {model._meta.pk.to_python(key) for (key,) in cursor.fetchall()}
        stored.update(key for key in batch if key in keys)  # the caller's own objects, so `keys` can be freed
    return stored


def update(rows: list[Model], *, of: str) -> None:
    """Update every column of stored rows, found by their primary key and the column `of`.

    All rows must have the same value in that column.
    """
    for batch in in_batches(rows):
        model = type(batch[0])
        owner = connection.to_driver(getattr(batch[0], model._meta.get_field(of).attname))
        with connection.cursor() as cursor:
            cursor.execute(update_sql(model, of), [to_json(batch), owner])


def in_batches(rows: list, size: int = BATCH) -> Iterator[list]:
    return (rows[start : start + size] for start in range(0, len(rows), size))


def columns(model: type[Model]) -> list:
    return model._meta.local_concrete_fields


def to_json(rows: list[Model]) -> str:
    """Return the rows as a JSON array of objects, whose keys are the columns' positions: `{"0": …, "1": …}`."""
    return f"[{','.join(map(to_object, rows))}]"  # row by row: the values take several times the memory of their JSON


def to_object(row: Model) -> str:
    values = dict(enumerate(driver_values(row, connection)))
    return orjson.dumps(values, default=str, option=orjson.OPT_NON_STR_KEYS).decode()


@cache
def insert_sql(model: type[Model]) -> str:
    names = [quote(field.column) for field in columns(model)]
    # PostgreSQL gets the constraint's name: on tables that are partitioned by device the key has two columns.
    constraint = f"ON CONSTRAINT {quote(f'{model._meta.db_table}_pkey')}" if connection.vendor == "postgresql" else ""
    return (
        f"INSERT INTO {quote(model._meta.db_table)} ({', '.join(names)})"  # noqa: S608
        f" SELECT {', '.join(names)} FROM {sent_rows_sql(columns(model))}"
        # Without WHERE, SQLite parses ON as the condition of a join.
        f" WHERE true ON CONFLICT {constraint or f'({key(model)})'} DO NOTHING RETURNING {key(model)}"
    )


@cache
def update_sql(model: type[Model], of: str) -> str:
    table, owner = quote(model._meta.db_table), quote(model._meta.get_field(of).column)
    names = [quote(field.column) for field in columns(model)]
    values = ", ".join(f"{name} = sent.{name}" for name in names if name not in (key(model), owner))
    # The owner is a parameter of its own, so that PostgreSQL can choose the partition when it plans the statement. On
    # SQLite, the + rules out the owner's index: it would compare each of the owner's rows with each row sent.
    sign = "+" if connection.vendor == "sqlite" else ""
    is_same = f"{table}.{key(model)} = sent.{key(model)} AND {sign}{table}.{owner} = %s"
    return f"UPDATE {table} SET {values} FROM {sent_rows_sql(columns(model))} WHERE {is_same}"  # noqa: S608


def sent_rows_sql(fields: list[Field]) -> str:
    """Return the SQL of a subquery `sent`, with the rows in the JSON parameter, as `to_json()` writes them."""
    places = list(enumerate(fields))
    if connection.vendor == "postgresql":
        types = ", ".join(f'"{place}" {field.db_type(connection)}' for place, field in places)
        names = ", ".join(f'"{place}" AS {quote(field.column)}' for place, field in places)
        return f"(SELECT {names} FROM json_to_recordset(%s::json) AS record({types})) AS sent"  # noqa: S608
    # No types on SQLite: a stored value gets the type of its column.
    names = ", ".join(f"json_extract(value, '$.\"{place}\"') AS {quote(field.column)}" for place, field in places)
    return f"(SELECT {names} FROM json_each(%s)) AS sent"  # noqa: S608


def key(model: type[Model]) -> str:
    """Return the quoted name of the primary key's column."""
    return quote(model._meta.pk.column)


def quote(name: str) -> str:
    return connection.ops.quote_name(name)
