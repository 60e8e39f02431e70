"""Read and validate the body of a push: everything that needs no database, before the device is locked."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from uuid import UUID

from rest_framework.exceptions import ErrorDetail
from rest_framework.settings import api_settings

from countonme.api.errors import ValidationError, error_item, flatten_errors, refusal
from countonme.api.fields import as_json_value, parse_uuid
from countonme.api.parsers import BodyTooComplex
from countonme.db.bulk import in_batches
from ownership.models import DeviceOwned
from ownership.serializers import validate
from sync.push.response import Rejected
from sync.registry import SyncTable, Values

LONE_SURROGATE = re.compile("[\ud800-\udfff]")
LISTS = ("created", "updated", "deleted")
MAX_ROWS = 50_000  # rows and deletions that one push stores; the others are rejected
TOO_MANY = [
    error_item(
        (), f"A push stores at most {MAX_ROWS:,} rows and deletions. Send this one again with the next sync.", "quota"
    )
]
MAX_UNKNOWN_ROWS = 120_000  # rows and deletions of unknown tables: the response lists them all
MAX_NAME = 64  # characters of a table's name or of an id, since the response repeats both
UNKNOWN_TABLE = [error_item((), "Unknown table.", "unknown_table")]

# Error types of rules that were added after the first release. A stored value that breaks them may stay.
LATER_RULES = {"day_out_of_range", "invisible"}

Packed = tuple  # the column names, then their values: this takes much less memory than a dict
NO_VALUES: Packed = ((),)  # shared by all rows without values


@dataclass(slots=True)
class PushedRow:
    """A row as a client sent it, without unknown columns."""

    packed_values: Packed
    packed_read_only: Packed  # read-only columns as sent: the values that the client has stored
    exact: bool  # validation changed and ignored no value, for example by trimming or rounding
    errors: list[dict] | None = None  # in the form of the response
    packed_sent: Packed | None = None  # as sent, if all errors are of LATER_RULES: see `without_stored_values()`

    @property
    def values(self) -> Values:
        return unpack(self.packed_values)

    def equals(self, row: DeviceOwned) -> bool:
        """Return whether the row has these values."""
        return self.errors is None and all(getattr(row, name) == value for name, value in self.values.items())

    def is_identical_to(self, row: DeviceOwned) -> bool:
        """Return whether the client has the row exactly as it is stored, read-only columns included."""
        read_only = unpack(self.packed_read_only)
        return (
            self.exact
            and all(as_json_value(getattr(row, name)) == value for name, value in read_only.items())
            and self.equals(row)
        )


class TablePayload:
    """The rows, deletions and rejected ids of one table. Each id is in only one of them.

    At most `room` rows and deletions are accepted. A row is rejected if its id is malformed, or if there is no room.
    """

    def __init__(self, table: SyncTable, lists, room: int):
        self.table, self.room = table, room
        self.rows: dict[UUID, PushedRow] = {}
        self.deleted: dict[UUID, None] = {}
        self.rejected: dict[str, list[dict]] = {}
        self.invalid_rows: dict[tuple, PushedRow] = {}  # one row for each combination of errors
        self.column_names: dict[tuple, tuple] = {}
        created, updated, deleted = lists_of(table.name, lists)
        self.read_ids(deleted)
        for name, rows in (("created", created), ("updated", updated)):
            self.read_rows(name, rows)

    @property
    def accepted(self) -> int:
        return len(self.rows) + len(self.deleted)

    @property
    def is_full(self) -> bool:
        return self.accepted >= self.room

    def read_ids(self, texts: list) -> None:
        """Read the ids of rows to delete, in order, and empty their list.

        A string that is not a UUID is ignored, because no row can have it as its id.
        """
        for place, text in enumerate(texts):
            texts[place] = None
            require(str, text, self.table.name, "deleted", place)
            row_id = parse_uuid(text)
            if row_id is None or row_id in self.deleted:
                continue
            if self.is_full:
                self.rejected[text] = TOO_MANY
            else:
                self.deleted[row_id] = None

    def read_rows(self, name: str, rows: list) -> None:
        """Read the rows and empty their list: a large push needs the memory for what follows."""
        for place, sent in enumerate(rows):
            rows[place] = None
            text = id_of(sent, self.table.name, name, place)
            if text in self.rejected:
                continue
            row = self.read_row(sent)
            if row.errors and any(error["loc"] == ["id"] for error in row.errors):
                self.rejected[text] = row.errors
            elif (row_id := UUID(text)) in self.deleted:
                continue
            elif self.is_full and row_id not in self.rows:
                self.rejected[text] = TOO_MANY
            else:
                self.rows[row_id] = row  # if several rows have the same id, the last one counts

    def read_row(self, sent: dict) -> PushedRow:
        table = self.table
        read_only = {name: sent[name] for name in table.read_only if name in sent}
        try:
            values = validate(table.serializer_class, sent, partial=True)
        except ValidationError as error:
            row = self.invalid_row(error)
            if all(each["type"] in LATER_RULES for each in row.errors):
                row = replace(row, packed_sent=self.pack({name: sent[name] for name in table.columns if name in sent}))
            return row
        exact = all(
            name in values and as_json_value(values[name]) == sent[name] for name in table.writable if name in sent
        )
        del values["id"]
        return PushedRow(self.pack(values), self.pack(read_only), exact)

    def without_stored_values(self, row: PushedRow, stored: DeviceOwned) -> PushedRow:
        """Validate the row again, without the columns whose stored value was sent: it may be older than a rule."""
        table = self.table
        return self.read_row(
            {
                name: value
                for name, value in unpack(row.packed_sent).items()
                if name == "id" or name in table.read_only or as_json_value(getattr(stored, name)) != value
            }
        )

    def pack(self, values: dict) -> Packed:
        names = tuple(values)
        return (self.column_names.setdefault(names, names), *values.values()) if names else NO_VALUES

    def invalid_row(self, error: ValidationError) -> PushedRow:
        """Return the row that represents all rows with these errors. They share one to save memory."""
        errors = list(flatten_errors(error.detail))
        key = tuple((*error["loc"], error["msg"], error["type"]) for error in errors)
        return self.invalid_rows.setdefault(key, PushedRow(NO_VALUES, NO_VALUES, exact=False, errors=errors))

    def errors_of(self, error: ValidationError) -> list[dict]:
        return self.invalid_row(error).errors

    def pop_deleted(self) -> list[UUID]:
        """Return the ids of the rows to delete, and remove them from the payload."""
        ids = list(self.deleted)
        self.deleted.clear()
        return ids


def drain(items: dict, size: int) -> Iterator[dict]:
    """Yield the items in batches and remove them, so that their memory can be used for the results."""
    for keys in in_batches(list(items), size):
        yield {key: items.pop(key) for key in keys}
    items.clear()  # pop() does not free the memory of the dict itself


def read_payload(body, tables: tuple[SyncTable, ...]) -> tuple[list[TablePayload], Rejected]:
    """Return the payload of each table, and the rejected rows of unknown tables.

    Raises ValidationError if the body has another form: otherwise it would be acknowledged, but not stored.
    """
    require(dict, body)
    if "changes" in body:
        raise refusal("changes", "Send the tables themselves, without `changes` around them.", "wrapped")
    payloads, room = [], MAX_ROWS
    for table in tables:
        payloads.append(TablePayload(table, body.get(table.name, {}), room))
        room -= payloads[-1].accepted
    known, rejected, count = {table.name for table in tables}, {}, 0
    for name, lists in body.items():
        if name not in known and (rows := reject_unknown_table(name, lists)):
            rejected[name] = rows
            count += len(rows)
        if count > MAX_UNKNOWN_ROWS:
            raise BodyTooComplex(f"The body has more than {MAX_UNKNOWN_ROWS:,} rows of unknown tables.")
    return payloads, rejected


def reject_unknown_table(table: str, lists) -> dict[str, list[dict]]:
    """Return the ids of all rows and deletions of an unknown table, each with its errors."""
    if not is_text(table) or len(table) > MAX_NAME:
        raise refusal(
            api_settings.NON_FIELD_ERRORS_KEY, f"A table's name has at most {MAX_NAME} characters.", "invalid"
        )
    rejected = {}
    for name, sent in zip(LISTS, lists_of(table, lists), strict=True):
        for place, row in enumerate(sent):
            sent[place] = None  # free the memory for the response
            if name != "deleted":
                rejected[id_of(row, table, name, place)] = UNKNOWN_TABLE
            else:
                rejected[short_text(row, table, name, place)] = UNKNOWN_TABLE
    return rejected


def lists_of(table: str, lists) -> list[list]:
    """Return the three lists of a table; raise ValidationError if there is another key."""
    require(dict, lists, table)
    for name in lists:
        if name not in LISTS:
            detail = ErrorDetail(
                "A table has the lists `created`, `updated` and `deleted`, and no other key.", "unknown_list"
            )
            raise ValidationError({table: {name: [detail]} if is_text(name) else [detail]})
    return [require(list, lists.get(name, []), table, name) for name in LISTS]


def id_of(row, *loc) -> str:
    """Return the `id` of a row as it was sent; raise ValidationError if there is none."""
    return short_text(require(dict, row, *loc).get("id"), *loc, "id")


def short_text(value, *loc) -> str:
    """Return a string that the response can repeat; raise ValidationError at `loc` if it is invalid or too long."""
    if len(require(str, value, *loc)) > MAX_NAME:
        raise error_at(loc, f"An id has at most {MAX_NAME} characters.")
    return value


def unpack(packed: Packed) -> dict:
    names, *values = packed
    return dict(zip(names, values, strict=True))


def require(kind: type, value, *loc):
    """Return the value if it has this type; otherwise raise ValidationError at `loc`."""
    if is_text(value) if kind is str else isinstance(value, kind):
        return value
    expected = {dict: "an object", list: "an array", str: "a string"}[kind]
    raise error_at(loc, f"This is not {expected}.")


def error_at(loc: tuple, message: str) -> ValidationError:
    detail = [ErrorDetail(message, "invalid")]
    for name in reversed(loc):
        detail = {name: detail}
    return ValidationError(detail)


def is_text(value) -> bool:
    """Return whether the value is a string without lone surrogates, which can't be encoded in a response."""
    return isinstance(value, str) and not LONE_SURROGATE.search(value)
