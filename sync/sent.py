"""What a phone pushed, read and checked as far as that goes without the database, and so before any lock is taken."""

from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from rest_framework.exceptions import ErrorDetail

from countonme.errors import ValidationError, flattened
from devices.owned import DeviceOwned
from devices.serializers import kept
from sync.serializers import row_id_of
from sync.tables import Table, Values

LISTS = ("created", "updated", "deleted")

Packed = tuple  # names, and a value for each: a dict would take several times the memory, and there may be many
NONE: Packed = ((),)  # one for all rows


@dataclass(slots=True)
class SentRow:
    """A row as a phone has it. A column that was not sent, or is not ours, is not in it."""

    packed: Packed
    read_only: Packed  # as sent: what the phone believes
    exact: bool  # the values are what was sent, untrimmed and unrounded
    errors: list[dict] | None = None  # as they are answered

    @property
    def values(self) -> Values:
        return unpacked(self.packed)

    def says(self, row: DeviceOwned) -> bool:
        """Say whether the row has these values."""
        return self.errors is None and all(getattr(row, name) == value for name, value in self.values.items())

    def matches(self, row: DeviceOwned) -> bool:
        """Say whether the phone has the row just as it is stored."""
        believed = all(in_json(getattr(row, name)) == value for name, value in unpacked(self.read_only).items())
        return self.exact and believed and self.says(row)


class Sent:
    """What was sent for one table: rows and deletions, each id in one of them, and ids that can be none, refused."""

    def __init__(self, table: Table, lists):
        self.table = table
        self.rows: dict[UUID, SentRow] = {}
        self.refused: dict[str, list[dict]] = {}
        self.faulty: dict[tuple, SentRow] = {}
        self.names: dict[tuple, tuple] = {}
        lists = of_type(dict, lists, table.name)
        created, updated, deleted = (of_type(list, lists.get(name, []), table.name, name) for name in LISTS)
        self.deleted = self.read_ids(deleted)
        for name, rows in (("created", created), ("updated", updated)):
            self.read_rows(name, rows)

    @property
    def count(self) -> int:
        return len(self.rows) + len(self.deleted) + len(self.refused)

    def read_ids(self, texts: list) -> dict[UUID, None]:
        """Return the ids of what is to be deleted, in order, and empty their list.

        There is nothing under a text that can be no id.
        """
        ids = {}
        for place, text in enumerate(texts):
            texts[place] = None
            of_type(str, text, self.table.name, "deleted", place)
            if row_id := row_id_of(text):
                ids[row_id] = None
        return ids

    def read_rows(self, name: str, rows: list) -> None:
        """Read the rows and empty their list: a large push needs its memory for what comes of it."""
        for place, sent in enumerate(rows):
            rows[place] = None
            of_type(dict, sent, self.table.name, name, place)
            text = of_type(str, sent.get("id"), self.table.name, name, place, "id")
            row = self.checked(sent)
            if row.errors and any(error["loc"] == ["id"] for error in row.errors):
                self.refused[text] = row.errors
            elif (row_id := UUID(text)) not in self.deleted:
                self.rows[row_id] = row  # the last word on an id counts, whole as it is

    def checked(self, sent: dict) -> SentRow:
        table = self.table
        read_only = {name: sent[name] for name in table.read_only if name in sent}
        try:
            values = kept(table.serializer_class, partial=True).run_validation(sent)
        except ValidationError as error:
            return self.with_errors(error)
        exact = all(in_json(value) == sent[name] for name, value in values.items())
        del values["id"]
        return SentRow(self.packed(values), self.packed(read_only), exact)

    def packed(self, values: dict) -> Packed:
        names = tuple(values)
        return (self.names.setdefault(names, names), *values.values()) if names else NONE

    def with_errors(self, error: ValidationError) -> SentRow:
        """Return what stands for all rows that have these errors: there may be many."""
        errors = list(flattened(error.detail))
        key = tuple((*error["loc"], error["msg"], error["type"]) for error in errors)
        return self.faulty.setdefault(key, SentRow(NONE, NONE, exact=False, errors=errors))


def read(body, tables: tuple[Table, ...]) -> list[Sent]:
    """Return what was sent for each table. Raises ValidationError where it is not of the form that a push has."""
    of_type(dict, body)
    return [Sent(table, body.get(table.name, {})) for table in tables]


def unpacked(packed: Packed) -> dict:
    names, *values = packed
    return dict(zip(names, values, strict=True))


def of_type(kind: type, value, *loc):
    """Return the value, which is of this type; raise ValidationError at `loc` if it is not."""
    if isinstance(value, kind) and not (kind is str and has_surrogates(value)):
        return value
    expected = {dict: "an object", list: "an array", str: "a text"}[kind]
    detail = [ErrorDetail(f"This is not {expected}.", "invalid")]
    for name in reversed(loc):
        detail = {name: detail}
    raise ValidationError(detail)


def has_surrogates(text: str) -> bool:
    """Say whether there is a lone surrogate in the text: what could not be sent back as a name."""
    return any("\ud800" <= character <= "\udfff" for character in text)


def in_json(value):
    """Return the value as it is in JSON."""
    if isinstance(value, Decimal):
        return float(value)
    return value if value is None or isinstance(value, bool | int | float) else str(value)
