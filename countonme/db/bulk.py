"""Any number of rows in one statement, on both databases, each as one JSON parameter.

Django's `bulk_create` and `bulk_update` take a parameter a value, whose number SQLite bounds, and a CASE for each value
of an update; neither can say which rows were stored and which were not.
"""

from collections.abc import Iterator
from functools import cache

import orjson
from django.db import connection
from django.db.models import Model

from countonme.db.statements import driver_values

BATCH = 1_000  # rows in one statement, so that their JSON is never much beside the rows themselves


def insert_free(rows: list[Model]) -> set:
    """Insert those new rows whose key is free, in the order given, and return their keys.

    It waits for whoever is storing the same key at this moment. Any constraint but the key's fails as always.
    """
    stored = set()
    for batch in in_batches(rows):
        model = type(batch[0])
        with connection.cursor() as cursor:
            cursor.execute(insertion(model), [as_json(batch)])
            keys = {model._meta.pk.to_python(key) for (key,) in cursor.fetchall()}
        stored.update(row.pk for row in batch if row.pk in keys)  # the rows' own: of very many, two of each are many
    for row in rows:
        row._state.adding, row._state.db = row.pk not in stored, connection.alias
    return stored


def update(rows: list[Model], *, of: str) -> None:
    """Write every column of stored rows, but only where the row's key and its column `of` are the stored ones.

    All rows have the same in that column.
    """
    for batch in in_batches(rows):
        model = type(batch[0])
        owner = connection.to_driver(getattr(batch[0], model._meta.get_field(of).attname))
        with connection.cursor() as cursor:
            cursor.execute(updating(model, of), [as_json(batch), owner])


def in_batches(rows: list, size: int = BATCH) -> Iterator[list]:
    return (rows[start : start + size] for start in range(0, len(rows), size))


def columns(model: type[Model]) -> list:
    return model._meta.local_concrete_fields


def as_json(rows: list[Model]) -> str:
    """Return the rows as an array of objects, whose keys are the columns' places: `{"0": …, "1": …}`."""
    return f"[{','.join(map(as_object, rows))}]"  # row by row: their values take several times the memory of their JSON


def as_object(row: Model) -> str:
    stored = dict(enumerate(driver_values(row, connection)))
    return orjson.dumps(stored, default=str, option=orjson.OPT_NON_STR_KEYS).decode()


@cache
def insertion(model: type[Model]) -> str:
    names = [quoted(field.column) for field in columns(model)]
    # By its name where it has one: on tables in partitions by device the key has two columns.
    named = f"ON CONSTRAINT {quoted(f'{model._meta.db_table}_pkey')}" if connection.vendor == "postgresql" else ""
    return (
        f"INSERT INTO {quoted(model._meta.db_table)} ({', '.join(names)}) SELECT {', '.join(names)} FROM {sent(model)}"  # noqa: S608
        # SQLite takes ON for a join's without WHERE.
        f" WHERE true ON CONFLICT {named or f'({key(model)})'} DO NOTHING RETURNING {key(model)}"
    )


@cache
def updating(model: type[Model], of: str) -> str:
    table, owner = quoted(model._meta.db_table), quoted(model._meta.get_field(of).column)
    names = [quoted(field.column) for field in columns(model)]
    values = ", ".join(f"{name} = sent.{name}" for name in names if name not in (key(model), owner))
    # The owner as a value of its own: it says which partition it is before any row is looked at. To SQLite, which would
    # compare each of the owner's rows with each one sent, the sign says to look rows up by their key.
    sign = "+" if connection.vendor == "sqlite" else ""
    same = f"{table}.{key(model)} = sent.{key(model)} AND {sign}{table}.{owner} = %s"
    return f"UPDATE {table} SET {values} FROM {sent(model)} WHERE {same}"  # noqa: S608


def sent(model: type[Model]) -> str:
    """Return the SQL of a table, called `sent`, of the rows in the statement's parameter."""
    typed = list(enumerate(columns(model)))
    if connection.vendor == "postgresql":
        places = ", ".join(f'"{place}" {field.db_type(connection)}' for place, field in typed)
        named = ", ".join(f'"{place}" AS {quoted(field.column)}' for place, field in typed)
        return f"(SELECT {named} FROM json_to_recordset(%s::json) AS record({places})) AS sent"  # noqa: S608
    # The type of a value that is stored comes from its column, as ever on SQLite.
    named = ", ".join(f"json_extract(value, '$.\"{place}\"') AS {quoted(field.column)}" for place, field in typed)
    return f"(SELECT {named} FROM json_each(%s)) AS sent"  # noqa: S608


def key(model: type[Model]) -> str:
    return quoted(model._meta.pk.column)


def quoted(name: str) -> str:
    return connection.ops.quote_name(name)
