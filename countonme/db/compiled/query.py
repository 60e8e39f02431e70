"""Queries that are compiled once.

Django writes a queryset's SQL anew at every use, which takes several times as long as PostgreSQL takes to answer. A
prepared query is a queryset with slots in it: its SQL is written once a thread, and each run fills the slots. So the
queryset stays the one source of truth, scope and soft delete included, and no SQL is written by hand.
"""

import copy
import json
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator
from datetime import date
from functools import cache
from operator import attrgetter
from threading import local
from typing import Any
from uuid import UUID

from django.db import DEFAULT_DB_ALIAS, connections, models
from django.db.models import Expression, Lookup, QuerySet, Value
from django.db.models.base import ModelState
from django.db.models.query import ModelIterable, ValuesIterable
from django.db.models.sql import InsertQuery
from psycopg.adapt import Loader
from psycopg.types.datetime import TimestamptzLoader
from psycopg.types.numeric import FloatLoader
from psycopg.types.string import TextLoader

from countonme.observability import query_timer

REMEMBERED = 1000  # rows that a kept cursor may hold on to
FIELD_OF = {UUID: models.UUIDField(), date: models.DateField()}


class Slot(Expression):
    """A place in a queryset for a value that is known only when the query runs."""

    def __init__(self, name: str, through: Callable | None = None):
        super().__init__()
        self.name = name
        self.through = through

    def as_sql(self, compiler, connection) -> tuple[str, list]:
        return "%s", [self]

    def filled(self, values: dict, connection) -> Any:
        value = values[self.name]
        return adapted(value if self.through is None else self.through(value), connection)


def applied(function: Callable, value) -> Expression:
    """Return `function(value)` as an expression; of a slot, one whose value will go through `function`."""
    return Slot(value.name, function) if isinstance(value, Slot) else Value(function(value))


def adapted(value, connection):
    """Return the value as the database driver takes it. psycopg takes all but lists as they are."""
    if connection.vendor == "postgresql":
        return f"{{{','.join(map(str, value))}}}" if isinstance(value, list) else value
    if isinstance(value, list):  # of ids; SQLite has no arrays
        return json.dumps([one.hex for one in value])
    field = FIELD_OF.get(type(value))
    return value if field is None else field.get_db_prep_value(value, connection)


@models.ForeignKey.register_lookup
@models.UUIDField.register_lookup
class AnyOf(Lookup):
    """`__in` for a slot of ids, or a list of them: of any length it is one parameter, and the SQL stays the same."""

    lookup_name = "any_of"
    prepare_rhs = False

    def get_db_prep_lookup(self, value, connection) -> tuple[str, list]:
        return "%s", [adapted(value, connection)]

    def as_sql(self, compiler, connection, template="{} = ANY({}::uuid[])") -> tuple[str, list]:
        lhs, lhs_params = self.process_lhs(compiler, connection)
        rhs, rhs_params = self.process_rhs(compiler, connection)
        return template.format(lhs, rhs), [*lhs_params, *rhs_params]

    def as_sqlite(self, compiler, connection) -> tuple[str, list]:
        return self.as_sql(compiler, connection, "{} IN (SELECT value FROM json_each({}))")


def among(name: str, ids: Collection) -> dict[str, Any]:
    """Return the filter for those whose `name` is one of the ids. A list of one is none: PostgreSQL plans it anew."""
    ids = list(ids)
    return {name: ids[0]} if len(ids) == 1 else {f"{name}__any_of": ids}


class Prepared:
    """A queryset that is compiled once a thread for each set of the names that its function is called with.

    `Prepared(function)(name=value, …)` runs what `function(name=slot, …)` returns: rows as the queryset has them, that
    is models, or the dicts of `.values()`, or the tuples of `.values_list()`. `limit` and `offset` are parameters too.
    """

    def __init__(self, function: Callable[..., QuerySet]):
        self.function = function
        self.threads = local()

    def __call__(self, *, limit: int | None = None, offset: int = 0, **values) -> list:
        connection = connections[DEFAULT_DB_ALIAS]
        sql, params, shaped = self.compiled(frozenset(values), limit is not None)
        arguments = filled(params, values, connection)
        if limit is not None:
            arguments += [limit, offset]
        cursor = shaped.cursor.of(connection)
        cursor.execute(sql, arguments)
        with connection.wrap_database_errors:
            found = cursor.cursor.fetchall()  # which `cursor.fetchall` makes a function for, each time
        if len(found) > REMEMBERED:
            shaped.cursor.forget()
        return shaped(found)

    def chunks(self, size: int, **values) -> Iterator[list]:
        """Yield the same rows in lists of at most `size`, and hold one list at a time, through a server-side cursor.

        Call it in a transaction that reads one snapshot, for a queryset in whose order no two rows are equal: the first
        list is read with a LIMIT, and the cursor starts after it. A short result needs no cursor then, which would take
        four more round trips to the database. Close the iterator, which closes the cursor, before the transaction ends.
        """
        rows = self(limit=size, **values)
        is_last = len(rows) < size
        yield rows
        del rows
        if is_last:
            return
        connection = connections[DEFAULT_DB_ALIAS]
        sql, params, shaped = self.compiled(frozenset(values), True)
        shaped.cursor.forget()
        with connection.chunked_cursor() as cursor:
            if connection.vendor == "postgresql":
                shaped.cursor.register_loaders(cursor.cursor)
            cursor.execute(sql, [*filled(params, values, connection), connection.ops.no_limit_value(), size])
            while not is_last:
                rows = shaped(fetch(cursor, size))
                is_last = len(rows) < size
                yield rows
                del rows

    def compiled(self, names: frozenset[str], paged: bool) -> "tuple[str, list, Shape]":
        known = self.threads.__dict__
        key = (names, paged)
        if key not in known:
            queryset = self.function(**{name: Slot(name) for name in names})
            compiler = queryset.query.get_compiler(DEFAULT_DB_ALIAS)
            sql, params = compiler.as_sql()
            known[key] = (sql + " LIMIT %s OFFSET %s" * paged, params, Shape(queryset, compiler))
        return known[key]


def filled(params: list, values: dict, connection) -> list:
    """Return the parameters of a compiled query, with these values in its slots."""
    return [param.filled(values, connection) if isinstance(param, Slot) else param for param in params]


def fetch(cursor, size: int) -> list[tuple]:
    """Return the next rows of a server-side cursor. This is when the database does the work."""
    with query_timer.counted():
        return cursor.fetchmany(size)


class Shape:
    """What makes the rows of a queryset out of a cursor's, for the thread that compiled it."""

    def __init__(self, queryset: QuerySet, compiler):
        columns = [column for column, *_ in compiler.select[: compiler.col_count]]
        self.compiler = compiler
        self.converters = {
            place: (converters, column)
            for place, (converters, column) in compiler.get_converters(columns).items()
            # Of a sum, to make a Decimal of what is one already on PostgreSQL.
            if compiler.connection.vendor != "postgresql" or converters != [column.convert_value]
        }
        self.model = queryset.model
        self.kind = queryset._iterable_class
        of_model = self.kind is ModelIterable
        self.names = [column.target.attname for column in columns] if of_model else list(queryset.query.selected)
        self.dicts = dicts_of(self.names)
        self.cursor = KeptCursor(**self.loaders())

    def loaders(self) -> dict[str, type[Loader]]:
        """Return what makes fewer things in Python than Django does.

        Django puts its time zone on each datetime; the session's is UTC. What is no model is read to be written as
        JSON, where an amount is a number: it skips being a Decimal. Dicts are written as they are, and an id in them
        skips being a UUID.
        """
        loaders = {"timestamptz": TimestamptzLoader}
        if self.kind is not ModelIterable:
            loaders["numeric"] = FloatLoader
        if self.kind is ValuesIterable:
            loaders["uuid"] = TextLoader
        return loaders

    def __call__(self, found: list) -> list:
        if self.converters:
            found = list(map(tuple, self.compiler.apply_converters(found, self.converters)))
        if self.kind is ModelIterable:
            return [self.stored(row) for row in found]
        return self.dicts(found) if self.kind is ValuesIterable else found

    def stored(self, row: tuple) -> models.Model:
        """Return a row's model, made as unpickling makes one: the four times as dear `__init__` has nothing to add."""
        made = self.model.__new__(self.model)
        made._state = ModelState()
        made._state.adding, made._state.db = False, DEFAULT_DB_ALIAS
        made.__dict__.update(zip(self.names, row, strict=True))
        return made


def dicts_of(names: list[str]) -> Callable[[list], list[dict]]:
    """Return what makes dicts of rows: a display written for these names, three times as fast as `zip` for each row."""
    values = [f"value_{place}" for place in range(len(names))]
    items = ", ".join(f"{name!r}: {value}" for name, value in zip(names, values, strict=True))
    return eval(f"lambda rows: [{{{items}}} for ({', '.join(values)},) in rows]")  # noqa: S307


class KeptCursor:
    """A thread's cursor, kept as long as its connection: to make one takes as long as to run a short query.

    It holds on to what it has read last, until it reads again: who has read much lets go of it (`forget`). With
    psycopg's own loaders, written in C, for these types of PostgreSQL; on SQLite it is a new one each time.
    """

    def __init__(self, **loaders: type[Loader]):
        self.loaders = loaders
        self.forget()

    def of(self, connection):
        if connection.vendor != "postgresql":
            return connection.cursor()
        if self.connected is None or self.connected is not connection.connection:
            connection.ensure_connection()
            cursor = connection.create_cursor()
            self.register_loaders(cursor)
            self.connected, self.kept = connection.connection, connection.make_cursor(cursor)
        return connection.make_debug_cursor(self.kept.cursor) if connection.queries_logged else self.kept

    def register_loaders(self, cursor) -> None:
        """Let psycopg's cursor return values as this one does."""
        for name, loader in self.loaders.items():
            cursor.adapters.register_loader(name, loader)

    def forget(self) -> None:
        self.connected, self.kept = None, None


class Kept(local):
    """What a thread keeps for statements that are no querysets."""

    def __init__(self):
        self.inserts: dict[type[models.Model], str] = {}
        # One for each statement: psycopg finds out how to write its values anew when a cursor's statement changes.
        self.cursors: defaultdict[str, KeptCursor] = defaultdict(KeptCursor)


_kept = Kept()


def executed(connection, sql: str, params: list):
    """Run a statement and return its cursor, which is good until the thread runs the same one again."""
    cursor = _kept.cursors[sql].of(connection)
    cursor.execute(sql, params)
    return cursor


def insert(row: models.Model) -> None:
    """Insert a new row, as its `save()` would; the statement is written once a thread and model."""
    connection = connections[DEFAULT_DB_ALIAS]
    model = type(row)
    fields = model._meta.local_concrete_fields
    known = _kept.inserts
    if model not in known:
        query = InsertQuery(model)
        query.insert_values(fields, [copy.copy(row)])
        ((known[model], _),) = query.get_compiler(connection=connection).as_sql()
    executed(connection, known[model], stored_values(row, connection))
    row._state.adding, row._state.db = False, connection.alias


def update(row: models.Model, *, of: str) -> bool:
    """Write every column of a stored row, found by its key and its column `of`; say whether there is one.

    By `of` too, so that the statement is about one partition where the tables are partitioned by it.
    """
    connection = connections[DEFAULT_DB_ALIAS]
    sql, order = updating(type(row), of)
    values = stored_values(row, connection)
    return executed(connection, sql, [values[place] for place in order]).rowcount == 1


@cache
def updating(model: type[models.Model], of: str) -> tuple[str, list[int]]:
    """Return the statement that updates a row, and the places of its parameters among the row's values."""
    quoted = connections[DEFAULT_DB_ALIAS].ops.quote_name
    fields = model._meta.local_concrete_fields
    found_by = [fields.index(model._meta.pk), fields.index(model._meta.get_field(of))]
    written = [place for place in range(len(fields)) if place not in found_by]
    values = ", ".join(f"{quoted(fields[place].column)} = %s" for place in written)
    found = " AND ".join(f"{quoted(fields[place].column)} = %s" for place in found_by)
    return f"UPDATE {quoted(model._meta.db_table)} SET {values} WHERE {found}", [*written, *found_by]  # noqa: S608


def stored_values(row: models.Model, connection) -> list:
    """Return the row's values as the database driver takes them, in the order of its columns."""
    read, made = reading(type(row))
    values = list(read(row))
    for place, field in made:
        values[place] = field.pre_save(row, add=row._state.adding)
    if connection.vendor == "postgresql":  # psycopg takes them as they are
        return values
    fields = row._meta.local_concrete_fields
    return [field.get_db_prep_save(value, connection) for field, value in zip(fields, values, strict=True)]


@cache
def reading(model: type[models.Model]) -> tuple[Callable, list[tuple[int, models.Field]]]:
    """Return what reads a row's values, and the fields that may make theirs when it is saved, with their places."""
    fields = model._meta.local_concrete_fields
    made = [(place, field) for place, field in enumerate(fields) if type(field).pre_save is not models.Field.pre_save]
    return attrgetter(*(field.attname for field in fields)), made
