"""The OpenAPI schemas and examples of pull and push, generated from the registered tables."""

from drf_spectacular.utils import OpenApiExample, extend_schema_serializer, inline_serializer
from rest_framework import serializers

from countonme.api.openapi import ErrorSerializer, FieldErrorSerializer
from sync.registry import SyncTable, tables
from sync.serializers import LAST_REVISION, RowIdField


def per_table(name: str, part, **kwargs) -> serializers.Serializer:
    """Return the schema of an object with a key for each table. `part(table)` returns the schema of its value."""
    return inline_serializer(name, {table.name: part(table) for table in tables()}, **kwargs)


def ids_by_table(child: serializers.Field, **kwargs) -> serializers.DictField:
    """Return the schema of an object with a list of ids for each table that has any."""
    return serializers.DictField(child=serializers.ListField(child=child), **kwargs)


def changes(table: SyncTable, *, pulled: bool) -> serializers.Serializer:
    """Return the schema of a table's three lists: `created`, `updated` and `deleted`."""
    rows = {name: table.serializer_class(many=True, required=pulled) for name in ("created", "updated")}
    deleted_id = RowIdField() if pulled else serializers.CharField(allow_blank=True)
    deleted = serializers.ListField(child=deleted_id, required=pulled)
    name = f"{'Pulled' if pulled else 'Pushed'}{type(table).__name__}"
    return inline_serializer(name, {**rows, "deleted": deleted}, required=pulled)


PULL_RESPONSE = inline_serializer(
    "Pull",
    {
        "changes": per_table("PulledChanges", lambda table: changes(table, pulled=True)),
        "timestamp": serializers.IntegerField(
            min_value=1, max_value=LAST_REVISION, help_text="The next `last_pulled_at`. Not a time."
        ),
        "experimentalStrategy": serializers.ChoiceField(
            ["replacement"],
            required=False,
            help_text="Delete local rows that are not in the response, unless they have never been pushed.",
        ),
        "restored": serializers.BooleanField(
            required=False,
            help_text="The server may have lost writes. Push the rows that it lacks. Delete only those in `deleted`.",
        ),
        "newer": ids_by_table(
            RowIdField(),
            required=False,
            help_text="Only with `restored`: live rows that have changed since `last_pulled_at`.",
        ),
    },
)
PUSH_REQUEST = per_table("PushedChanges", lambda table: changes(table, pulled=False))
PUSH_RESPONSE = inline_serializer(
    "Push",
    {
        "experimentalRejectedIds": ids_by_table(
            serializers.CharField(),
            help_text="Rejected rows, including rows of unknown tables. The client keeps them as unsynced.",
        ),
        "rejected": inline_serializer(
            "RejectedRow",
            {
                "table": serializers.CharField(help_text="As sent. It may be an unknown table."),
                "id": serializers.CharField(),
                "errors": FieldErrorSerializer(many=True),
            },
            many=True,
        ),
    },
)


@extend_schema_serializer(component_name="PushConflictBody")
class PushConflictSerializer(ErrorSerializer):
    conflicts = ids_by_table(RowIdField(), help_text="Rows that have changed since `last_pulled_at`, by table.")


NO_CHANGES = {"created": [], "updated": [], "deleted": []}


def example_of(table: SyncTable, key: str) -> dict:
    """Return an example of a table's changes: a row under this key, or a deletion."""
    if table.example_deleted:
        return {"deleted": [table.example_deleted]}
    return {key: [{column: table.example[column] for column in table.columns}]} if table.example else {}


PULL_EXAMPLES = [
    OpenApiExample(
        "Changes",
        {
            "changes": {table.name: NO_CHANGES | example_of(table, "updated") for table in tables()},
            "timestamp": 42,
        },
        response_only=True,
    )
]
PUSH_EXAMPLES = [
    OpenApiExample("Changes", {table.name: example_of(table, "created") for table in tables()}, request_only=True),
    OpenApiExample("Stored", {"experimentalRejectedIds": {}, "rejected": []}, response_only=True, status_codes=["200"]),
]


def describe_push(result: dict, **kwargs) -> dict:
    """Describe what only a push has, since the schema generator can't do that.

    - A row needs only its `id`: other columns may be missing, and then keep the stored values.
    - There are no other tables and lists. The server does accept unknown tables, so that newer apps can push, but it
      rejects their rows.
    """
    schemas = result["components"]["schemas"]
    for name, schema in schemas.items():
        if name.startswith("Pushed") and name.endswith("Request"):
            schema["additionalProperties"] = False
    for table in tables():
        row = schemas[f"{table.serializer_class.__name__}Request"]
        row["required"] = ["id"]
        needed = ", ".join(f"`{name}`" for name in table.required if name != "id")
        rule = f"A new row needs {needed}. In a stored row, missing columns keep their values."
        row["description"] = f"{row.get('description', '')} {rule}".strip()
    return result
