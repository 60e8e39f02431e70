"""Parameters of compiled queries: placeholders for values that are known when the query runs."""

from collections.abc import Callable, Collection
from typing import Any
from uuid import UUID

from django.db import models
from django.db.models import Expression, Lookup, Value


class Param(Expression):
    """A placeholder in a queryset for a value that is known only when the query runs."""

    def __init__(self, name: str, function: Callable | None = None):
        super().__init__()
        self.name = name
        self.function = function

    def as_sql(self, compiler, connection) -> tuple[str, list]:
        return "%s", [self]

    def pick(self, values: dict) -> Any:
        """Return this parameter's value from the values of a run."""
        value = values[self.name]
        return value if self.function is None else self.function(value)


def transformed(function: Callable, value, output_field: models.Field | None = None) -> Expression:
    """Return `function(value)` as an expression. If the value is a Param, each run calls the function.

    Pass an `output_field` if the result can be a number of more than 4 bytes. Otherwise the ORM sends 4 bytes.
    """
    return Param(value.name, function) if isinstance(value, Param) else Value(function(value), output_field)


def id_filter(name: str, ids: Collection) -> dict[str, Any]:
    """Return a filter for rows whose `name` is one of the ids. Ids are UUIDs, or strings as `json()` returns them.

    For one id it compares with `=`, because PostgreSQL makes a new plan at each run of a query with a list.
    """
    ids = list(ids)
    if len(ids) != 1:
        return {f"{name}__any_of": ids}
    (one,) = ids
    return {name: one if isinstance(one, UUID) else UUID(one)}


@models.ForeignKey.register_lookup
@models.UUIDField.register_lookup
class AnyOf(Lookup):
    """`__in` for a list of ids or its Param. The list is one parameter, so the SQL is the same for any length."""

    lookup_name = "any_of"
    prepare_rhs = False

    def get_db_prep_lookup(self, value, connection) -> tuple[str, list]:
        return "%s", [connection.to_driver(value)]

    def as_sql(self, compiler, connection, template="{} = ANY({}::uuid[])") -> tuple[str, list]:
        lhs, lhs_params = self.process_lhs(compiler, connection)
        rhs, rhs_params = self.process_rhs(compiler, connection)
        return template.format(lhs, rhs), [*lhs_params, *rhs_params]

    def as_sqlite(self, compiler, connection) -> tuple[str, list]:
        return self.as_sql(compiler, connection, "{} IN (SELECT value FROM json_each({}))")
