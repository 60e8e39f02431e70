"""The registry of sync tables: one `SyncTable` for each model that devices own. Pull, push and purge iterate over it.

An app registers its tables in `sync_tables.py`, which is discovered like `admin.py`. The serializer of a table defines
its columns, their bounds, and which of them are read-only. The rules of a single model are methods of its table.
"""

from collections.abc import Callable, Iterator
from functools import cache, partial
from uuid import UUID

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db.models import Count, Q, QuerySet, UniqueConstraint

from countonme.api.errors import refusal
from countonme.db.compiled import compiled_query
from devices.models import Device
from ownership.models import DeviceOwned
from sync.serializers import RowSerializer

Values = dict[str, object]  # of writable columns, as they are stored
References = dict[str, DeviceOwned]  # newly referenced rows, by the column that refers to them
Settled = tuple[DeviceOwned, Values]


class SyncTable:
    """Defines how the rows of one model are synced: the base class of all tables."""

    name: str
    serializer_class: type[RowSerializer]
    # The column that refers to the parent row. A row is deleted with its parent, and never moves to another one.
    parent_column: str | None = None
    # Whether the server creates a row for each parent that has none.
    each_parent_has_one = False
    # Examples for the OpenAPI document: a row, or the id of a deleted one.
    example: dict | None = None
    example_deleted: str | None = None
    # Columns whose value only one live row of a device or of a parent can have. The value here is the exception, which
    # any number of rows can have: `{"barcode": None}`, `{"is_default": False}`.
    exclusive: Values = {}
    # Unique columns that clients don't send. Each is computed from a column that they send:
    # `{"barcode_key": ("barcode", function)}`.
    derived: dict[str, tuple[str, Callable]] = {}

    def __init__(self):
        fields = self.serializer_class().fields
        self.model = self.serializer_class.Meta.model
        self.columns = tuple(fields)
        self.read_only = tuple(name for name, field in fields.items() if field.read_only)
        self.writable = tuple(name for name, field in fields.items() if not field.read_only)
        self.required = tuple(name for name, field in fields.items() if field.required)
        self.references = {name: model for name in fields if (model := self.model_named_by(name))}
        self.parent_model = self.references.get(self.parent_column)
        # Unique among the live rows of a device.
        self.unique = {
            rule.fields[1]: rule.get_violation_error_message()
            for rule in self.model._meta.constraints
            if isinstance(rule, UniqueConstraint) and rule.fields[0] == "device"
        }
        self.live = compiled_query(self._live)
        self.changed_since = compiled_query(self._changed_since)
        self.live_or_changed_since = compiled_query(self._live_or_changed_since)
        self.all_rows = compiled_query(self._all_rows)
        self.rows_by_id = compiled_query(self.all_by_id).models
        self.live_revisions = compiled_query(self._live_revisions).tuples
        self.holders = {column: compiled_query(partial(self._holders, column)).tuples for column in self.unique}
        if self.parent_column:
            self.parent_ids = compiled_query(self._parent_ids).tuples
            self.live_child_ids = compiled_query(self._live_child_ids).tuples
            self.child_counts = compiled_query(self._child_counts).tuples

    def model_named_by(self, column: str) -> type[DeviceOwned] | None:
        """Return the model that a column refers to."""
        return next(
            (f.related_model for f in self.model._meta.concrete_fields if f.is_relation and f.attname == column), None
        )

    def source_of(self, column: str) -> tuple[str, Callable]:
        """Return the column that clients send for a unique column, and the function that derives the unique value."""
        return self.derived.get(column, (column, lambda value: value))

    def _live(self, device) -> QuerySet:
        """Return the live rows, with the columns that clients have."""
        return self.model.objects.for_device(device).order_by("revision", "id").values(*self.columns)

    def _changed_since(self, device, since) -> QuerySet:
        """Return the rows that have changed after a revision, live or deleted, with their `deleted_at`."""
        return self._changes(device, Q(revision__gt=since))

    def _live_or_changed_since(self, device, since) -> QuerySet:
        """Return the same rows, and all other live rows."""
        return self._changes(device, Q(deleted_at=None) | Q(revision__gt=since))

    def _changes(self, device, which: Q) -> QuerySet:
        changed = self.model.all_objects.for_device(device).filter(which)
        return changed.order_by("revision", "id").values("deleted_at", *self.columns)

    def _all_rows(self, device) -> QuerySet:
        """Return all rows, live or deleted, with their `deleted_at` and `revision`."""
        rows = self.model.all_objects.for_device(device).order_by("revision", "id")
        return rows.values("deleted_at", "revision", *self.columns)

    def all_by_id(self, device, ids) -> QuerySet:
        return self.model.all_objects.for_device(device).filter(pk__any_of=ids)

    def live_by_id(self, device, ids) -> QuerySet:
        return self.model.objects.for_device(device).filter(pk__any_of=ids)

    def _live_revisions(self, device, ids) -> QuerySet:
        """Return id and revision of those of the rows that are live."""
        return self.live_by_id(device, ids).values_list("id", "revision")

    def _parent_ids(self, device, ids) -> QuerySet:
        """Return the ids of the parents of those of the rows that are live."""
        return self.live_by_id(device, ids).values_list(self.parent_column)

    def live_children(self, device, parent_ids) -> QuerySet:
        """Return the live rows of these parents."""
        return self.model.objects.for_device(device).filter(**self._of_parents(parent_ids))

    @property
    def max_children(self) -> int | None:
        """The maximum number of rows of this table for each parent; None if there is no limit."""
        setting = self.model.quota_per_parent_setting
        return setting and getattr(settings, setting)

    def _child_counts(self, device, parent_ids) -> QuerySet:
        """Return the number of rows of each of these parents, including deleted ones."""
        children = self.model.all_objects.for_device(device).filter(**self._of_parents(parent_ids))
        return children.order_by().values_list(self.parent_column).annotate(children=Count("pk"))

    def children_deleted_at(self, device, parent_ids, at) -> QuerySet:
        """Return the rows of these parents with this `deleted_at`, the oldest first."""
        children = self.model.all_objects.for_device(device).filter(**self._of_parents(parent_ids), deleted_at=at)
        return children.order_by("created_at", "id")

    def _of_parents(self, parent_ids) -> dict:
        return {f"{self.parent_column.removesuffix('_id')}__any_of": parent_ids}

    def _live_child_ids(self, device, parent_ids) -> QuerySet:
        """Return the ids of the live rows of these parents."""
        return self.live_children(device, parent_ids).values_list("id")

    def _holders(self, column, device) -> QuerySet:
        """Return for each live row its id, its value of a unique column, and the value that clients have.

        Rows in which both are null are left out. The previous release may have removed only the clients' value.
        """
        source, _ = self.source_of(column)
        held = self.model.objects.for_device(device).exclude(**{source: None, column: None})
        return held.order_by("id").values_list("id", column, source)

    # --- rules of a single model -------------------------------------------------------------------

    def check(self, row: DeviceOwned | None, values: Values, references: References) -> None:
        """Raise ValidationError if the row, or a new row, can never get these values. Other rows don't matter here."""
        column = self.parent_column
        if row and column and values.get(column, getattr(row, column)) != getattr(row, column):
            raise refusal(column, "This can't be changed.", "fixed")

    def build(self, device: Device, row_id: UUID, values: Values, references: References) -> DeviceOwned:
        """Return a new, unsaved row."""
        return self.model.new(device_id=device.pk, id=row_id, **values)

    def values_to_assign(self, row: DeviceOwned, values: Values, references: References) -> Values:
        """Return the keyword arguments for `row.assign()`."""
        return values

    def settle(self, children: list[DeviceOwned], claims: list[DeviceOwned], **owner_ids) -> Iterator[Settled]:
        """Yield live children of one live parent, each with the values that it gets.

        It is called when all rows of the push are known. `children` are sorted by age, the oldest first. `claims` are
        the children that were pushed with an exclusive value that they don't have yet, in the order sent. To create a
        child, yield a new row with the columns in `owner_ids`: the ids of the device and of the parent.
        """
        yield from ()


def without(values: Values, name: str) -> Values:
    return {column: value for column, value in values.items() if column != name}


_registered: list[SyncTable] = []


def register(table: type[SyncTable]) -> type[SyncTable]:
    """Register a table. Use it as a class decorator in the `sync_tables.py` of an app."""
    _registered.append(table())
    tables.cache_clear()
    return table


@cache
def tables() -> tuple[SyncTable, ...]:
    """Return all tables, sorted so that each table comes after those that it refers to."""
    ordered: list[SyncTable] = []
    waiting = list(_registered)
    while waiting:
        missing = {table.model for table in waiting}
        ready = [table for table in waiting if not missing - {table.model} & set(table.references.values())]
        if not ready:
            raise ImproperlyConfigured(f"Tables refer to each other: {', '.join(table.name for table in waiting)}.")
        ordered += ready
        waiting = [table for table in waiting if table not in ready]
    return tuple(ordered)
