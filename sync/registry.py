"""What syncs: a table for each model that a device owns. The feed, the push and the purge know the models from here.

An app declares its tables in `sync_tables.py`, which is found like `admin.py`. A table names the model's serializer,
and with it the columns, their bounds and which of them are read-only. Rules that are the model's own are its methods.
"""

from collections.abc import Iterator
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
Named = dict[str, DeviceOwned]  # the rows that values name anew, by the column that names them
Settled = tuple[DeviceOwned, Values]


class SyncTable:
    """How a model syncs."""

    name: str
    serializer_class: type[RowSerializer]
    # The column that names the row which this one is a part of: it is deleted with it, and never leaves it.
    part_of: str | None = None
    # Whether the server makes a part for each row that has none.
    each_whole_has_one = False
    # Shown in the OpenAPI document: a row, or the id of one that is deleted.
    example: dict | None = None
    example_deleted: str | None = None
    # Columns whose value one row at a time may hold, and the value that stands for none.
    exclusive: Values = {}

    def __init__(self):
        fields = self.serializer_class().fields
        self.model = self.serializer_class.Meta.model
        self.columns = tuple(fields)
        self.read_only = tuple(name for name, field in fields.items() if field.read_only)
        self.required = tuple(name for name, field in fields.items() if field.required)
        self.references = {name: model for name in fields if (model := self.model_named_by(name))}
        self.parent_model = self.references.get(self.part_of)
        # Unique among the live rows of a device.
        self.unique = {
            rule.fields[1]: rule.get_violation_error_message()
            for rule in self.model._meta.constraints
            if isinstance(rule, UniqueConstraint) and rule.fields[0] == "device"
        }
        self.live = compiled_query(self._live)
        self.changed_since = compiled_query(self._changed_since)
        self.whole = compiled_query(self._whole)
        self.everything = compiled_query(self._everything)
        self.rows_by_id = compiled_query(self.all_by_id).models
        self.live_revisions = compiled_query(self._live_revisions).tuples
        self.holders = {column: compiled_query(partial(self._holders, column)).tuples for column in self.unique}
        if self.part_of:
            self.wholes = compiled_query(self._wholes).tuples
            self.live_parts = compiled_query(self._live_parts).tuples
            self.stored_parts = compiled_query(self._stored_parts).tuples

    def model_named_by(self, column: str) -> type[DeviceOwned] | None:
        """Return the model that a column refers to."""
        return next(
            (f.related_model for f in self.model._meta.concrete_fields if f.is_relation and f.attname == column), None
        )

    def _live(self, device) -> QuerySet:
        """Return the live rows, as a phone has them."""
        return self.model.objects.for_device(device).order_by("revision", "id").values(*self.columns)

    def _changed_since(self, device, since) -> QuerySet:
        """Return what has changed after a revision, tombstones too, which have a `deleted_at`."""
        return self._changes(device, Q(revision__gt=since))

    def _whole(self, device, since) -> QuerySet:
        """Return the same, and all other live rows."""
        return self._changes(device, Q(deleted_at=None) | Q(revision__gt=since))

    def _changes(self, device, which: Q) -> QuerySet:
        changed = self.model.all_objects.for_device(device).filter(which)
        return changed.order_by("revision", "id").values("deleted_at", *self.columns)

    def _everything(self, device) -> QuerySet:
        """Return all rows, tombstones too, with their `deleted_at` and `revision`."""
        rows = self.model.all_objects.for_device(device).order_by("revision", "id")
        return rows.values("deleted_at", "revision", *self.columns)

    def all_by_id(self, device, ids) -> QuerySet:
        return self.model.all_objects.for_device(device).filter(pk__any_of=ids)

    def live_by_id(self, device, ids) -> QuerySet:
        return self.model.objects.for_device(device).filter(pk__any_of=ids)

    def _live_revisions(self, device, ids) -> QuerySet:
        """Return the ids of those that are live, each with its revision."""
        return self.live_by_id(device, ids).values_list("id", "revision")

    def _wholes(self, device, ids) -> QuerySet:
        """Return the ids of what the live ones of these are parts of."""
        return self.live_by_id(device, ids).values_list(self.part_of)

    def parts(self, device, wholes) -> QuerySet:
        """Return the live parts of these rows."""
        return self.model.objects.for_device(device).filter(**self._of_wholes(wholes))

    @property
    def max_parts(self) -> int | None:
        """Return how many of these rows a row can have that they are parts of; None if there is no limit."""
        setting = self.model.quota_per_parent_setting
        return setting and getattr(settings, setting)

    def _stored_parts(self, device, wholes) -> QuerySet:
        """Return how many parts each of these rows has, deleted ones included."""
        parts = self.model.all_objects.for_device(device).filter(**self._of_wholes(wholes))
        return parts.order_by().values_list(self.part_of).annotate(parts=Count("pk"))

    def parts_deleted_at(self, device, wholes, at) -> QuerySet:
        """Return the parts of these rows that were deleted at this moment, the oldest first."""
        parts = self.model.all_objects.for_device(device).filter(**self._of_wholes(wholes), deleted_at=at)
        return parts.order_by("created_at", "id")

    def _of_wholes(self, wholes) -> dict:
        return {f"{self.part_of.removesuffix('_id')}__any_of": wholes}

    def _live_parts(self, device, wholes) -> QuerySet:
        """Return the ids of these parts."""
        return self.parts(device, wholes).values_list("id")

    def _holders(self, column, device) -> QuerySet:
        """Return which live row holds which value of a unique column."""
        held = self.model.objects.for_device(device).exclude(**{column: None})
        return held.order_by("id").values_list("id", column)

    # --- a model's own rules -----------------------------------------------------------------------

    def check(self, row: DeviceOwned | None, values: Values, named: Named) -> None:
        """Raise ValidationError where these can't be the row's values, or a new one's, whatever the other rows are."""
        if row and self.part_of and values.get(self.part_of, getattr(row, self.part_of)) != getattr(row, self.part_of):
            raise refusal(self.part_of, "This can't be changed.", "fixed")

    def born(self, device: Device, row_id: UUID, values: Values, named: Named) -> DeviceOwned:
        """Return a new row, not stored yet."""
        return self.model.new(device_id=device.pk, id=row_id, **values)

    def changed(self, row: DeviceOwned, values: Values, named: Named) -> Values:
        """Return what `row.take()` is to be given."""
        return values

    def settle(self, parts: list[DeviceOwned], claims: list[DeviceOwned], **of) -> Iterator[Settled]:
        """Yield what else becomes of the live parts of one live row, now that all that was sent is in.

        `parts` are in the order of their age; `claims` are those that were sent as what only one may be, and are not
        yet, in the order sent. A part that is yielded and not among them is a new one, to be made from `of`: the
        device's id, and that of what it is a part of.
        """
        yield from ()


def without(values: Values, name: str) -> Values:
    return {column: value for column, value in values.items() if column != name}


_registered: list[SyncTable] = []


def register(table: type[SyncTable]) -> type[SyncTable]:
    """Have a table sync: `@register` on a class in an app's `sync_tables.py`."""
    _registered.append(table())
    tables.cache_clear()
    return table


@cache
def tables() -> tuple[SyncTable, ...]:
    """Return all tables. What refers to others comes after them."""
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
