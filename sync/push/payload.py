"""What a phone pushed, read and checked as far as that goes without the database, and so before any lock is taken."""

import re
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from rest_framework.exceptions import ErrorDetail
from rest_framework.settings import api_settings

from countonme.api.errors import ValidationError, flattened, refusal
from countonme.api.fields import parse_uuid
from countonme.api.parsers import BodyTooComplex
from ownership.models import DeviceOwned
from ownership.serializers import kept
from sync.push.response import Refused
from sync.registry import SyncTable, Values

LONE_SURROGATE = re.compile("[\ud800-\udfff]")
LISTS = ("created", "updated", "deleted")
MAX_ROWS = 50_000  # rows and deletions that one push stores; the client sends the others with its next sync
TOO_MANY = [
    {
        "loc": [],
        "msg": f"A push stores at most {MAX_ROWS:,} rows and deletions. Send this one again with the next sync.",
        "type": "quota",
    }
]
MAX_UNKNOWN_ROWS = 120_000  # rows and deletions of unknown tables that one response names
MAX_NAME = 64  # characters of a table's name, or of an id: the response repeats them
UNKNOWN_TABLE = [{"loc": [], "msg": "The server does not know this table.", "type": "unknown_table"}]

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
    """The rows and deletions that were sent for one table, each id in one of them, and the ids that are refused.

    At most `room` rows and deletions are accepted. An id is refused if it is malformed, or if there is no room.
    """

    def __init__(self, table: SyncTable, lists, room: int = MAX_ROWS):
        self.table, self.room = table, room
        self.rows: dict[UUID, SentRow] = {}
        self.refused: dict[str, list[dict]] = {}
        self.faulty: dict[tuple, SentRow] = {}
        self.names: dict[tuple, tuple] = {}
        created, updated, deleted = lists_of(table.name, lists)
        self.deleted: dict[UUID, None] = {}
        self.read_ids(deleted)
        for name, rows in (("created", created), ("updated", updated)):
            self.read_rows(name, rows)

    @property
    def count(self) -> int:
        return len(self.rows) + len(self.deleted) + len(self.refused)

    @property
    def is_full(self) -> bool:
        return len(self.rows) + len(self.deleted) >= self.room

    def read_ids(self, texts: list) -> None:
        """Read the ids of what is to be deleted, in order, and empty their list.

        A text that is no UUID names no row, so that there is nothing to delete.
        """
        for place, text in enumerate(texts):
            texts[place] = None
            of_type(str, text, self.table.name, "deleted", place)
            row_id = parse_uuid(text)
            if row_id is None or row_id in self.deleted:
                continue
            if self.is_full:
                self.refused[text] = TOO_MANY
            else:
                self.deleted[row_id] = None

    def read_rows(self, name: str, rows: list) -> None:
        """Read the rows and empty their list: a large push needs its memory for what comes of it."""
        for place, sent in enumerate(rows):
            rows[place] = None
            text = id_of(sent, self.table.name, name, place)
            if text in self.refused:
                continue
            row = self.checked(sent)
            if row.errors and any(error["loc"] == ["id"] for error in row.errors):
                self.refused[text] = row.errors
            elif (row_id := UUID(text)) in self.deleted:
                continue
            elif self.is_full and row_id not in self.rows:
                self.refused[text] = TOO_MANY
            else:
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


def read(body, tables: tuple[SyncTable, ...]) -> tuple[list[Sent], Refused]:
    """Return what was sent for each table, and the refused rows of tables that the server does not know.

    Raises ValidationError if it is not of the form that a push has: it would be acknowledged and stored nowhere.
    """
    of_type(dict, body)
    if "changes" in body:
        raise refusal("changes", "Send the tables themselves, without `changes` around them.", "wrapped")
    sent, room = [], MAX_ROWS
    for table in tables:
        sent.append(Sent(table, body.get(table.name, {}), room))
        room -= len(sent[-1].rows) + len(sent[-1].deleted)
    known, refused, count = {table.name for table in tables}, {}, 0
    for name, lists in body.items():
        if name not in known and (rows := refused_rows(name, lists)):
            refused[name] = rows
            count += len(rows)
        if count > MAX_UNKNOWN_ROWS:
            raise BodyTooComplex(f"The body has more than {MAX_UNKNOWN_ROWS:,} rows of tables that are not known.")
    return sent, refused


def refused_rows(table: str, lists) -> dict[str, list[dict]]:
    """Return the ids of all rows and deletions of a table that the server does not know, each with its errors."""
    if not is_text(table) or len(table) > MAX_NAME:
        raise refusal(
            api_settings.NON_FIELD_ERRORS_KEY, f"A table's name has at most {MAX_NAME} characters.", "invalid"
        )
    refused = {}
    for name, sent in zip(LISTS, lists_of(table, lists), strict=True):
        for place, row in enumerate(sent):
            sent[place] = None  # the response needs the memory
            if name != "deleted":
                refused[id_of(row, table, name, place)] = UNKNOWN_TABLE
            else:
                refused[short_text(row, table, name, place)] = UNKNOWN_TABLE
    return refused


def lists_of(table: str, lists) -> list[list]:
    """Return the three lists of a table; raise ValidationError if there is anything else."""
    of_type(dict, lists, table)
    for name in lists:
        if name not in LISTS:
            detail = ErrorDetail(
                "A table has the lists `created`, `updated` and `deleted`, and no other key.", "unknown_list"
            )
            raise ValidationError({table: {name: [detail]} if is_text(name) else [detail]})
    return [of_type(list, lists.get(name, []), table, name) for name in LISTS]


def id_of(row, *loc) -> str:
    """Return the `id` of a row as it was sent; raise ValidationError if there is none."""
    return short_text(of_type(dict, row, *loc).get("id"), *loc, "id")


def short_text(value, *loc) -> str:
    """Return a text that can be repeated in the response; raise ValidationError at `loc` if it is none, or too long."""
    if len(of_type(str, value, *loc)) > MAX_NAME:
        raise error_at(loc, f"An id has at most {MAX_NAME} characters.")
    return value


def unpacked(packed: Packed) -> dict:
    names, *values = packed
    return dict(zip(names, values, strict=True))


def of_type(kind: type, value, *loc):
    """Return the value, which is of this type; raise ValidationError at `loc` if it is not."""
    if is_text(value) if kind is str else isinstance(value, kind):
        return value
    expected = {dict: "an object", list: "an array", str: "a text"}[kind]
    raise error_at(loc, f"This is not {expected}.")


def error_at(loc: tuple, message: str) -> ValidationError:
    detail = [ErrorDetail(message, "invalid")]
    for name in reversed(loc):
        detail = {name: detail}
    return ValidationError(detail)


def is_text(value) -> bool:
    """Return whether the value is a text without a lone surrogate, which can't be sent back."""
    return isinstance(value, str) and not LONE_SURROGATE.search(value)


def in_json(value):
    """Return the value as it is in JSON."""
    if isinstance(value, Decimal):
        return float(value)
    return value if value is None or isinstance(value, bool | int | float) else str(value)
