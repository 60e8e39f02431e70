"""Insert or update one row with all its columns. `bulk.py` does it for many rows.

`save()` builds the SQL again for each statement. Here it is built once per model.

If a constraint is violated, the IntegrityError has the row as `error.row`, so that a 409 can name the row in the way.
"""

from collections.abc import Callable
from functools import cache
from operator import attrgetter

from django.db import DEFAULT_DB_ALIAS, IntegrityError, connections, models


def insert_row(row: models.Model) -> None:
    """Insert a new row, as Django's `Model.save()` would, but send no signals."""
    connection = connections[DEFAULT_DB_ALIAS]
    execute(connection, insert_sql(type(row)), driver_values(row, connection), row)
    row._state.adding, row._state.db = False, connection.alias


def update_row(row: models.Model, *, of: str) -> bool:
    """Update every column of a stored row, found by its key and the column `of`. Return whether there is such a row.

    If the tables are partitioned by `of`, PostgreSQL then looks into one partition only.
    """
    connection = connections[DEFAULT_DB_ALIAS]
    sql, places = update_sql(type(row), of)
    values = driver_values(row, connection)
    return execute(connection, sql, [values[place] for place in places], row).rowcount == 1


def execute(connection, sql: str, params: list, row: models.Model):
    try:
        return connection.execute_cached(sql, params)
    except IntegrityError as error:
        error.row = row
        raise


def driver_values(row: models.Model, connection) -> list:
    """Return the row's values in the driver's types, in the order of the columns."""
    read, derived = value_reader(type(row))
    values = list(read(row))
    for place, field in derived:
        values[place] = field.pre_save(row, add=row._state.adding)
    if connection.vendor == "postgresql":  # psycopg converts them
        return values
    fields = row._meta.local_concrete_fields
    return [field.get_db_prep_save(value, connection) for field, value in zip(fields, values, strict=True)]


@cache
def value_reader(model: type[models.Model]) -> tuple[Callable, list[tuple[int, models.Field]]]:
    """Return a function that reads a row's values, and the fields with their own `pre_save()`, with their positions."""
    fields = model._meta.local_concrete_fields
    derived = [
        (place, field) for place, field in enumerate(fields) if type(field).pre_save is not models.Field.pre_save
    ]
    return attrgetter(*(field.attname for field in fields)), derived


@cache
def insert_sql(model: type[models.Model]) -> str:
    table, names = quoted_names(model)
    return f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join(['%s'] * len(names))})"  # noqa: S608


@cache
def update_sql(model: type[models.Model], of: str) -> tuple[str, list[int]]:
    """Return the statement, and the positions of its parameters among the row's values."""
    table, names = quoted_names(model)
    fields = model._meta.local_concrete_fields
    keys = [fields.index(model._meta.pk), fields.index(model._meta.get_field(of))]
    written = [place for place in range(len(fields)) if place not in keys]
    values = ", ".join(f"{names[place]} = %s" for place in written)
    is_same = " AND ".join(f"{names[place]} = %s" for place in keys)
    return f"UPDATE {table} SET {values} WHERE {is_same}", [*written, *keys]  # noqa: S608


def quoted_names(model: type[models.Model]) -> tuple[str, list[str]]:
    """Return the quoted names of the table and its columns."""
    quote = connections[DEFAULT_DB_ALIAS].ops.quote_name
    return quote(model._meta.db_table), [quote(field.column) for field in model._meta.local_concrete_fields]
