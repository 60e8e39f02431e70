"""The serializers of sync: pushed rows, with the same fields and bounds as in REST, and the two query strings."""

from uuid import UUID

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from countonme.api.fields import IdField, NewIdField, QueryNumberField, parse_uuid
from countonme.api.parsers import loads
from ownership.serializers import OwnedSerializer

LAST_REVISION = 2**53 - 1  # JavaScript's largest safe integer


ROW_ID = {"type": "string", "pattern": "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"}


@extend_schema_field(ROW_ID)  # without `format: uuid`: as text, a UUID of Swift is in upper case
class RowIdField(IdField):
    """A lowercase UUID. Responses have ids in lower case, so a client would take another form for another row."""

    default_error_messages = {"invalid": "This is not a lowercase UUID."}

    def to_internal_value(self, data):
        return row_id_of(data) or self.fail("invalid")


class NewRowIdField(NewIdField, RowIdField):
    """The id of a pushed row."""


def row_id_of(text) -> UUID | None:
    """Return the UUID if `text` is a lowercase one; otherwise None."""
    row_id = parse_uuid(text)
    return row_id if str(row_id) == text else None


class EmptyIsNotSent:
    """Mixin for a column: null and an empty text count as not sent.

    The client library fills a column that an app update adds with an empty text.
    """

    def run_validation(self, data=serializers.empty):
        if data is None or (isinstance(data, str) and not data.strip()):
            raise serializers.SkipField
        return super().run_validation(data)


class EmptyIsNull:
    """Mixin for a column: an empty text is stored as null."""

    def run_validation(self, data=serializers.empty):
        return super().run_validation(None if isinstance(data, str) and not data.strip() else data)


class RowSerializer(OwnedSerializer):
    """Validates a pushed row by itself. `Meta.fields` are the columns of the client's table.

    Conflicts with stored rows are found later, when the device is locked.
    """

    def get_fields(self) -> dict:
        return super().get_fields() | {"id": NewRowIdField(help_text="A lowercase UUID, chosen by the client.")}


class CursorField(QueryNumberField):
    """The `timestamp` of a pull. WatermelonDB sends an empty string or `null` if it has none.

    The OpenAPI document has only the number. From `oneOf`, code generators make a class that can't hold a number.
    """

    def __init__(self, **kwargs):
        super().__init__(min_value=0, max_value=LAST_REVISION, default=0, **kwargs)

    def to_internal_value(self, data) -> int:
        return 0 if data in ("", "null") else super().to_internal_value(data)


class NewColumns(serializers.Serializer):
    table = serializers.CharField()


class Migration(serializers.Serializer):
    """The tables and columns that are new in a client's database."""

    tables = serializers.ListField(child=serializers.CharField(), required=False)
    columns = NewColumns(many=True, required=False)


@extend_schema_field({"type": "string"})
class MigrationField(serializers.Field):
    """A migration, as JSON. The validated value is the set of its tables, including unknown ones."""

    default_error_messages = {"invalid": "This is not JSON."}

    def to_internal_value(self, data: str) -> set[str]:
        try:
            sent = loads(data or "null")
        except (ValueError, RecursionError):
            self.fail("invalid")
        if sent is None:
            return set()
        migration = Migration().run_validation(sent)
        return {*migration.get("tables", ()), *(new["table"] for new in migration.get("columns", ()))}


class PushQuery(serializers.Serializer):
    last_pulled_at = CursorField(help_text="The `timestamp` of the last pull. Omit it, or send `0`, if there was none.")


class PullQuery(PushQuery):
    schema_version = serializers.CharField(required=False, allow_blank=True, help_text="Accepted, but ignored.")
    migration = MigrationField(
        default=set,
        help_text=(
            'JSON: `{"from", "tables", "columns": [{"table", "columns"}]}`. '
            "The response has all live rows of these tables, whether or not they have changed."
        ),
    )
