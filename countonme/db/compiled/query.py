"""The `@compiled_query` decorator, and the methods that run a compiled query."""

from collections.abc import Callable, Iterator
from contextlib import closing
from threading import local

from django.db import DEFAULT_DB_ALIAS, connections
from django.db.models import Model, QuerySet

from countonme.db.compiled.params import Param
from countonme.db.compiled.rows import JSON, JSON_TUPLES, MODELS, TUPLES, Mode, row_reader

registered: "list[CompiledQuery]" = []  # a test compares each one with the ORM


class CompiledQuery:
    """A function that returns a queryset, which is compiled once per thread and set of argument names.

    The function gets a `Param` for each argument, so that the SQL can't depend on a value. The kind of its queryset
    decides which method runs it:

    - `models()`: a queryset of models. Returns instances as the ORM does. They are created without `__init__()`, so a
      model with its own `__init__()` or `from_db()`, or with receivers of `pre_init` or `post_init`, raises TypeError.
      So do `select_related()`, `prefetch_related()` and `annotate()`.
    - `tuples()`: `.values_list()`. Returns tuples of the same values as the ORM.
    - `json()`: `.values()`. Returns dicts for orjson: an id is a str and an amount a float, on every database. Other
      values are the ORM's.
    - `json_tuples()`: `.values_list()`. Returns tuples of the same values as `json()`.

    `list(function(**values))` runs the same query through the ORM. A value must not be None: the SQL would compare with
    NULL, which finds nothing, where the ORM writes IS NULL.
    """

    def __init__(self, function: Callable[..., QuerySet]):
        self.function = function
        self.threads = local()
        registered.append(self)

    def models(self, *, limit: int | None = None, offset: int = 0, **values) -> list[Model]:
        return self.run(MODELS, limit, offset, values)

    def tuples(self, *, limit: int | None = None, offset: int = 0, **values) -> list[tuple]:
        return self.run(TUPLES, limit, offset, values)

    def json(self, *, limit: int | None = None, offset: int = 0, **values) -> list[dict]:
        return self.run(JSON, limit, offset, values)

    def json_tuples(self, *, limit: int | None = None, offset: int = 0, **values) -> list[tuple]:
        return self.run(JSON_TUPLES, limit, offset, values)

    def json_chunks(self, size: int, **values) -> Iterator[list[dict]]:
        """Yield the rows of `json()` in lists of at most `size`, and hold one list at a time.

        Call it in a transaction that reads one snapshot. The queryset must have a total order: the first list is read
        with a LIMIT, and a server-side cursor starts after it. So a short result needs no cursor, which takes four more
        round trips. Close the iterator before the transaction ends: that closes the cursor.
        """
        rows = self.json(limit=size, **values)
        is_last = len(rows) < size
        yield rows
        del rows
        if is_last:
            return
        connection = connections[DEFAULT_DB_ALIAS]
        statement = self.statement(JSON, frozenset(values), is_paged=True)
        params = [*statement.fill(values, connection), connection.ops.no_limit_value(), size]
        with closing(connection.fetch_chunks(statement.sql, params, size, for_json=True)) as chunks:
            for chunk in chunks:
                yield statement.read_rows(chunk)

    def run(self, mode: Mode, limit: int | None, offset: int, values: dict) -> list:
        """Run the query and return its rows in the form of the mode."""
        connection = connections[DEFAULT_DB_ALIAS]
        statement = self.statement(mode, frozenset(values), limit is not None)
        params = statement.fill(values, connection)
        if limit is not None:
            params += [limit, offset]
        return statement.read_rows(connection.fetch_cached(statement.sql, params, for_json=mode.for_json))

    def statement(self, mode: Mode, names: frozenset[str], is_paged: bool) -> "Statement":
        """Return this thread's statement. Compile it at the first use."""
        statements = self.threads.__dict__
        key = (mode, names, is_paged)
        if key not in statements:
            statements[key] = Statement(self.function(**{name: Param(name) for name in names}), mode, is_paged)
        return statements[key]


class Statement:
    """A compiled queryset: the SQL, its parameters, and the function that converts the rows."""

    def __init__(self, queryset: QuerySet, mode: Mode, is_paged: bool):
        compiler = queryset.query.get_compiler(DEFAULT_DB_ALIAS)
        self.sql, self.params = compiler.as_sql()
        self.places = [(place, param) for place, param in enumerate(self.params) if isinstance(param, Param)]
        self.read_rows = row_reader(queryset, compiler, mode)
        if is_paged:
            if queryset.query.is_sliced:
                raise TypeError("A sliced queryset can't have a `limit`.")
            self.sql += " LIMIT %s OFFSET %s"

    def fill(self, values: dict, connection) -> list:
        """Return the parameters of a run, in the driver's types."""
        params = [*self.params]
        for place, param in self.places:
            params[place] = connection.to_driver(param.pick(values))
        return params


def compiled_query(function: Callable[..., QuerySet]) -> CompiledQuery:
    """Decorator: compile the queryset that the function returns."""
    return CompiledQuery(function)
