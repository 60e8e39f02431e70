"""The OpenAPI schemas and examples of pull and push, generated from the registered tables."""

from drf_spectacular.utils import OpenApiExample, inline_serializer
from rest_framework import serializers

from countonme.api.openapi import ErrorSerializer, FieldErrorSerializer
from sync.registry import SyncTable, tables


def per_table(name: str, part, **kwargs) -> serializers.Serializer:
    """Return the schema of an object with a key for each table. `part(table)` returns the schema of its value."""
    return inline_serializer(name, {table.name: part(table) for table in tables()}, **kwargs)


def ids(*_) -> serializers.ListField:
    return serializers.ListField(child=serializers.UUIDField(), required=False)


def sent_ids(*_) -> serializers.ListField:
    """Return the schema of a list of rejected ids, which may not be UUIDs."""
    return serializers.ListField(child=serializers.CharField(), required=False)


def changes(table: SyncTable, *, required: bool) -> serializers.Serializer:
    """Return the schema of a table's three lists: `created`, `updated` and `deleted`."""
    rows = {name: table.serializer_class(many=True, required=required) for name in ("created", "updated")}
    deleted = serializers.ListField(child=serializers.UUIDField(), required=required)
    name = f"{'Pulled' if required else 'Pushed'}{type(table).__name__}"
    return inline_serializer(name, {**rows, "deleted": deleted}, required=required)


PULL_RESPONSE = inline_serializer(
    "Pull",
    {
        "changes": per_table("PulledChanges", lambda table: changes(table, required=True)),
        "timestamp": serializers.IntegerField(min_value=1, help_text="The next `last_pulled_at`. Not a time."),
        "experimentalStrategy": serializers.ChoiceField(
            ["replacement"],
            required=False,
            help_text="Delete local rows that are not in the response, unless they have never been pushed.",
        ),
        "restored": serializers.BooleanField(
            required=False,
            help_text="The server may have lost writes. Delete nothing, and push the rows that only this client has.",
        ),
        "newer": per_table(
            "Newer",
            ids,
            required=False,
            help_text="Only with `restored`: live rows that have changed since `last_pulled_at`.",
        ),
    },
)
PUSH_REQUEST = per_table("PushedChanges", lambda table: changes(table, required=False))
PUSH_RESPONSE = inline_serializer(
    "Push",
    {
        "experimentalRejectedIds": per_table(
            "RejectedIds",
            sent_ids,
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


class PushConflictSerializer(ErrorSerializer):
    conflicts = per_table("Conflicts", ids, help_text="Rows that have changed since `last_pulled_at`, by table.")


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


def close_push(result: dict, **kwargs) -> dict:
    """Set `additionalProperties: false` in the schemas of a push, since the schema generator can't do that.

    The server does accept unknown tables, so that newer apps can push, but it rejects their rows.
    """
    for name, schema in result["components"]["schemas"].items():
        if name.startswith("Pushed") and name.endswith("Request"):
            schema["additionalProperties"] = False
    return result
