"""The model's state in memory: devices, their rows and revisions. It imports nothing of the service.

A function of the model makes one call: it changes the model and returns the expected Response, or raises Refused and
changes nothing. Expected bodies contain Unknown values where the service chooses the value.
"""

import json
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from tests.contract.values import TIME, UUID, row_id, to_json

FORMS = {"id": UUID, "time": TIME, "token": re.compile(r"\S+"), "text": re.compile("(?s).+")}
# The names of tables and fields here, in sync.py and in the modules of the resources are deliberately not read from the
# service: names from the service would always agree with it.
LABELS = {"products": "Product", "portions": "Portion", "food_entries": "Food entry"}


@dataclass
class Response:
    """The expected response of a call that succeeds. `next_page` is the query of the Link to the next page."""

    status: int
    body: object = None
    next_page: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.status} {json.dumps(self.body, default=str, ensure_ascii=False)} {self.next_page or ''}"


class Refused(Exception):
    """The expected response of a call that fails.

    `locs` are the `loc` of each error of a 422, and `conflict` the ids of a 409. A `detail` or
    `conflict` of None may be any.
    """

    def __init__(self, status: int, detail: str | None = None, *locs: tuple, conflict: Collection[str] | None = ()):
        self.status, self.detail, self.locs = status, detail, set(locs)
        self.conflict = None if conflict is None else sorted(conflict)

    def __str__(self) -> str:
        return f"{self.status} {self.detail or 'any detail'} {sorted(self.locs, key=repr) or self.conflict or ''}"


def id_taken(*ids: str) -> Refused:
    return Refused(409, "This id is taken", conflict=ids)


def not_found(table: str) -> Refused:
    return Refused(404, f"{LABELS[table]} not found")


def invalid(*locs: tuple) -> Refused:
    return Refused(422, "Validation error", *locs)


class Unordered(list):
    """Rows or ids that the service may return in any order."""


@dataclass(eq=False)
class Unknown:
    """A value that the service chooses, of a kind in FORMS. The first actual value of that form is kept."""

    kind: str
    least: str = ""
    actual: str | None = None

    def accepts(self, value) -> bool:
        if self.actual is None and isinstance(value, str) and FORMS[self.kind].fullmatch(value) and value >= self.least:
            self.actual = value
        return self.actual is not None and self.actual == value

    def __repr__(self) -> str:
        return self.actual or f"any {self.kind}" + (f" from {self.least} on" if self.least else "")


def known(value):
    """Return the actual value of an Unknown, if it has one, and any other value unchanged."""
    return value.actual or value if isinstance(value, Unknown) else value


@dataclass(eq=False)
class Row:
    device: "Device"
    stored: dict
    per_100g: dict  # the values that a food entry copies from its product
    revision: int
    deleted_in: int | None = None  # the revision in which it was deleted

    def __getitem__(self, column: str):
        return known(self.stored[column])

    @property
    def deleted(self) -> bool:
        return self.deleted_in is not None

    @property
    def values(self) -> dict:
        return {column: self[column] for column in self.stored}

    def to_json(self) -> dict:
        return to_json(self.values)


class Service:
    """Everything that is stored: the rows of all devices by table, in the order of their creation."""

    def __init__(self):
        self.rows: dict[str, list[Row]] = {table: [] for table in LABELS}
        self.invalid_tokens: list[str] = []
        self.erased_devices: list[str] = []

    def used_ids(self, table: str) -> list[str]:
        """Return the ids of all rows of all devices, deleted ones included."""
        return [row["id"] for row in self.rows[table]]


class Device:
    """A device and its rows. After a rotation, `next_token` is the new token until its first use."""

    def __init__(self, service: Service, device_id: str, token: str):
        self.service, self.id = service, device_id
        self.token: str | Unknown = token
        self.next_token: str | Unknown | None = None
        self.created_at = Unknown("time")
        self.revision = 1

    # --- reading rows ------------------------------------------------------------------------------

    def all_rows(self, table: str) -> list[Row]:
        return [row for row in self.service.rows[table] if row.device is self]

    def rows(self, table: str, **values) -> list[Row]:
        """Return the live rows that have these values."""
        rows = [row for row in self.all_rows(table) if not row.deleted]
        return [row for row in rows if all(row[column] == value for column, value in values.items())]

    def find(self, table: str, row_id) -> Row | None:
        return next(iter(self.rows(table, id=row_id)), None)

    def get(self, table: str, row_id) -> Row:
        """Return a live row, or raise Refused with 404."""
        row = self.get_deleted_or_live(table, row_id)
        if row.deleted:
            raise not_found(table)
        return row

    def get_deleted_or_live(self, table: str, row_id) -> Row:
        for row in self.all_rows(table):
            if row["id"] == row_id:
                return row
        raise not_found(table)

    # --- writing rows ------------------------------------------------------------------------------

    def add(self, table: str, values: dict, per_100g: dict | None = None) -> Row:
        """Add a row with the id in `values`, or with an id that the service chooses."""
        if values.get("id") in self.service.used_ids(table):
            raise id_taken(values["id"])
        stored = {"id": Unknown("id"), **values, "created_at": Unknown("time"), "updated_at": None}
        row = Row(self, stored, per_100g or {}, self.revision + 1)
        self.service.rows[table].append(row)
        return row

    def change(self, row: Row, values: dict) -> None:
        """Set values of a row. A row that has these values already doesn't get a new revision."""
        if row.values | values != row.values:
            row.stored |= values
            self.stamp(row)

    def delete(self, *rows: Row) -> Response:
        for row in rows:
            row.deleted_in = self.revision + 1
            self.stamp(row)
        self.commit()
        return Response(204)

    def restore(self, *rows: Row) -> None:
        for row in rows:
            row.deleted_in = None
            self.stamp(row)
        self.commit()

    def stamp(self, row: Row) -> None:
        """Set the revision and the time of a changed row."""
        row.revision = self.revision + 1
        row.stored["updated_at"] = Unknown("time", least=row["created_at"])

    def commit(self) -> None:
        """Increase the device's revision by one if the call has changed a row."""
        if any(row.revision > self.revision for table in LABELS for row in self.all_rows(table)):
            self.revision += 1


def validate(body: dict, fields: dict[str, Callable], required: tuple = ()) -> dict:
    """Return the values of the sent fields, or raise Refused with all fields that are invalid or missing."""
    values, errors = {}, set()
    for name, check in fields.items():
        if name in body:
            try:
                values[name] = check(body[name])
            except ValueError:
                errors.add((name,))
        elif name in required:
            errors.add((name,))
    if errors:
        raise invalid(*errors)
    return values


def validate_new(body: dict, fields: dict[str, Callable], required: tuple) -> dict:
    return validate(body, {"id": row_id} | fields, required)


def page_of(query: dict) -> tuple[int, int]:
    """Return the limit and the offset of a list, or raise Refused if they are invalid."""
    limit, offset = int(query.get("limit", 50)), int(query.get("offset", 0))
    bounds = {"limit": 1 <= limit <= 200, "offset": 0 <= offset <= 1_000_000}
    if not all(bounds.values()):
        raise invalid(*[(name,) for name, holds in bounds.items() if not holds])
    return limit, offset


def page(rows: list[Row], query: dict, represent: Callable[[Row], dict]) -> Response:
    limit, offset = page_of(query)
    end = offset + limit
    next_page = {"limit": str(limit), "offset": str(end)} if len(rows) > end else {}
    return Response(200, [represent(row) for row in rows[offset:end]], next_page)
