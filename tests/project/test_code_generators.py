"""The OpenAPI document suits code generators: rules that every operation and schema keeps.

`make test-generators` shows that clients can be generated. These rules are what it taught, and are quick to check.
"""

import json
import re
from collections.abc import Iterator

import pytest

from countonme.api import schema_views
from countonme.api.openapi import refer_to_enums
from countonme.api.renderers import JSONRenderer
from sync.registry import tables

DOCUMENT = json.loads(JSONRenderer().render(schema_views.document()))
SCHEMAS = DOCUMENT["components"]["schemas"]
METHODS = {"get", "post", "put", "patch", "delete"}
OPERATIONS = {
    f"{method.upper()} {path}": operation
    for path, operations in DOCUMENT["paths"].items()
    for method, operation in operations.items()
    if method in METHODS
}
LARGEST_INT32 = 2**31 - 1
# Names of the languages and of what every program imports: a generated class of this name would hide the original.
BUILTINS = {
    "JavaScript": "Array Blob Date Error Event File Function Headers Map Number Object Promise Proxy Record Request "
    "Response Set String Symbol URL",
    "Kotlin": "Any Array Boolean Exception Int List Long Map Nothing Pair Result Set String Throwable Unit",
    "Swift": "Any Bundle Character Codable Data Date Decimal Double Error ErrorResponse Host Locale Measurement "
    "Notification Operation Optional Port Process Progress Result Scanner Sequence Set Thread Timer Type URL UUID Unit",
    "Dart": "DateTime Duration Enum Error Exception Function Future Iterable List Map Object Record Set Stream String "
    "Symbol Type Uri",
    "Python": "Any Client Enum Mapping Type Unset",
}
RESERVED = {name for names in BUILTINS.values() for name in names.split()} | {"Status"}


def schemas_in(part, path: str) -> Iterator[tuple[str, dict]]:
    """Yield each schema below a part of the document, with its path. Examples are not schemas."""
    if isinstance(part, dict):
        if path.endswith(("/schema", "/items", "/additionalProperties")) or re.search(
            "/(schemas|properties)/[^/]+$", path
        ):
            yield path, part
        for key, value in part.items():
            if key not in ("example", "examples"):
                yield from schemas_in(value, f"{path}/{key}")
    elif isinstance(part, list):
        for index, value in enumerate(part):
            yield from schemas_in(value, f"{path}/{index}")


EVERY_SCHEMA = dict(schemas_in({"paths": DOCUMENT["paths"], "components": DOCUMENT["components"]}, ""))


def paths_of(is_wrong) -> list[str]:
    return [path for path, schema in EVERY_SCHEMA.items() if is_wrong(schema)]


class TestTheService:
    def test_is_the_one_that_the_document_was_read_from(self):
        assert [server["url"] for server in DOCUMENT["servers"]] == ["/"]

    def test_has_a_license_and_a_contact(self):
        assert DOCUMENT["info"]["license"].keys() == {"name", "url"}
        assert DOCUMENT["info"]["contact"]["name"]


class TestOperations:
    def test_have_ids_that_are_unique_and_begin_with_a_verb(self):
        ids = [operation["operationId"] for operation in OPERATIONS.values()]

        assert len(ids) == len(set(ids)) >= 20
        assert [name for name in ids if not re.fullmatch("[a-z]+([A-Z][a-z]+)+", name)] == []

    def test_have_a_summary_and_a_description(self):
        assert [name for name, operation in OPERATIONS.items() if not operation.get("summary")] == []
        assert [name for name, operation in OPERATIONS.items() if not operation.get("description")] == []

    def test_say_whether_they_need_a_token(self):
        needs = {name: operation["security"] for name, operation in OPERATIONS.items()}

        assert needs["GET /healthz"] == []
        assert needs["GET /v1/sync"] == [{"deviceToken": []}]
        assert all(need in ([], [{"deviceToken": []}]) for need in needs.values())

    def test_have_one_tag_that_is_described(self):
        described = {tag["name"]: tag["description"] for tag in DOCUMENT["tags"]}

        assert {tuple(operation["tags"]) for operation in OPERATIONS.values()} == {(name,) for name in described}
        assert all(described.values())

    def test_require_their_bodies(self):
        bodies = [operation["requestBody"] for operation in OPERATIONS.values() if "requestBody" in operation]

        assert len(bodies) >= 10
        assert all(body["required"] for body in bodies)


class TestNamesOfSchemas:
    def test_are_names_of_classes(self):
        assert [name for name in SCHEMAS if not re.fullmatch("([A-Z][a-z0-9]+)+", name)] == []

    def test_are_not_names_of_builtin_classes(self):
        assert sorted(RESERVED & SCHEMAS.keys()) == []

    def test_are_not_names_that_generators_make_of_operations(self):
        made = {
            operation["operationId"][0].upper() + operation["operationId"][1:] + suffix
            for operation in OPERATIONS.values()
            for suffix in ("Body", "Data", "Error", "Errors", "Params", "Request", "Response", "Responses")
        }

        assert sorted(made & SCHEMAS.keys()) == []

    def test_differ_in_more_than_case(self):
        assert len({name.lower() for name in SCHEMAS}) == len(SCHEMAS)


class TestSchemas:
    def test_are_all_found(self):
        assert len(EVERY_SCHEMA) > 300

    def test_are_never_alternatives(self):
        assert paths_of(lambda schema: {"oneOf", "anyOf", "not"} & schema.keys()) == []

    def test_are_combined_only_to_add_a_description_to_a_reference(self):
        """With `type` beside `allOf`, the clients of openapi-generator for Kotlin and Swift don't compile.

        `nullable` needs a `type`, so a reference can't be nullable.
        """
        combined = [schema for schema in EVERY_SCHEMA.values() if "allOf" in schema]

        assert combined
        for schema in combined:
            assert schema.keys() <= {"allOf", "description"}
            assert [part.keys() for part in schema["allOf"]] == [{"$ref"}]

    def test_are_enums_only_as_components(self):
        enums = paths_of(lambda schema: "enum" in schema)

        assert enums
        assert [path for path in enums if not re.fullmatch("/components/schemas/[^/]+", path)] == []
        assert paths_of(lambda schema: "enum" in schema and {"default", "nullable"} & schema.keys()) == []

    def test_have_64_bits_for_integers_that_need_them(self):
        large = paths_of(lambda schema: schema.get("maximum", 0) > LARGEST_INT32)

        assert {"/components/schemas/Pull/properties/timestamp"} <= set(large)
        assert [EVERY_SCHEMA[path]["format"] for path in large] == ["int64"] * len(large)

    def test_have_defaults_only_in_query_strings(self):
        """In bodies, openapi-typescript requires a field with a default, and other generators always send it."""
        with_default = paths_of(lambda schema: "default" in schema)

        assert with_default
        assert [path for path in with_default if not path.startswith("/paths/") or "/parameters/" not in path] == []

    def test_require_the_fields_that_every_response_has(self):
        optional = {
            f"{name}.{field}"
            for name, schema in SCHEMAS.items()
            for field in schema.get("properties", {}).keys() - set(schema.get("required", ()))
            if not name.endswith("Request")
        }

        assert optional == {"Pull.experimentalStrategy", "Pull.newer", "Pull.restored"}

    def test_say_what_is_in_an_array(self):
        assert paths_of(lambda schema: schema.get("type") == "array" and "items" not in schema) == []

    def test_are_either_for_requests_or_for_responses(self):
        assert paths_of(lambda schema: {"readOnly", "writeOnly"} & schema.keys()) == []

    def test_have_no_bounds_for_the_numbers_of_a_stored_row(self):
        rows = ("Product", "Portion", "FoodEntry", "ProductRow", "PortionRow", "FoodEntryRow")

        bounded = [
            f"{row}.{name}"
            for row in rows
            for name, schema in SCHEMAS[row]["properties"].items()
            if {"minimum", "maximum"} & schema.keys()
        ]
        assert bounded == []

    def test_have_no_description_of_a_base_class(self):
        assert "description" not in SCHEMAS["DaySummary"]
        assert SCHEMAS["ProductRow"]["description"].startswith("A food")


class TestDefaults:
    def test_are_described_in_the_bodies_that_create_a_row(self):
        assert SCHEMAS["FoodEntryRequest"]["properties"]["meal_type"]["description"].endswith("Default: `snacks`.")
        assert SCHEMAS["PortionRequest"]["properties"]["is_default"]["description"].endswith("Default: `false`.")

    def test_are_described_once(self):
        fields = [field for schema in SCHEMAS.values() for field in schema.get("properties", {}).values()]
        assert [field for field in fields if field.get("description", "").count("Default:") > 1] == []

    @pytest.mark.parametrize("field", ["is_default", "meal_type"])
    def test_are_not_described_in_the_bodies_that_change_a_row(self, field):
        bodies = [SCHEMAS["PatchedPortionRequest"], SCHEMAS["PatchedFoodEntryRequest"]]
        (schema,) = [body["properties"][field] for body in bodies if field in body["properties"]]
        assert "Default:" not in json.dumps(schema)


class TestSync:
    def test_has_a_cursor_that_is_a_number(self):
        cursors = [
            parameter["schema"]
            for operation in ("GET /v1/sync", "POST /v1/sync")
            for parameter in OPERATIONS[operation]["parameters"]
            if parameter["name"] == "last_pulled_at"
        ]

        assert cursors == [{"type": "integer", "format": "int64", "minimum": 0, "maximum": 2**53 - 1, "default": 0}] * 2
        timestamp = SCHEMAS["Pull"]["properties"]["timestamp"]
        assert (timestamp["type"], timestamp["format"]) == ("integer", "int64")

    @pytest.mark.parametrize("table", tables(), ids=lambda table: table.name)
    def test_requires_only_the_id_of_a_pushed_row(self, table):
        row = SCHEMAS[f"{table.serializer_class.__name__}Request"]

        assert row["required"] == ["id"]
        for name in set(table.required) - {"id"}:
            assert f"`{name}`" in row["description"]

    @pytest.mark.parametrize("table", tables(), ids=lambda table: table.name)
    def test_requires_every_column_of_a_pulled_row(self, table):
        row = SCHEMAS[table.serializer_class.__name__]

        assert row["required"] == sorted(row["properties"]) == sorted(table.columns)

    @pytest.mark.parametrize("table", tables(), ids=lambda table: table.name)
    def test_has_ids_that_are_text(self, table):
        for name in ("", "Request"):
            columns = SCHEMAS[table.serializer_class.__name__ + name]["properties"]
            for column in ("id", *table.references):
                assert "format" not in columns[column]
                assert columns[column]["pattern"].startswith("^[0-9a-f]")

    def test_has_ids_of_tables_that_the_document_does_not_know(self):
        for schema, name in (
            ("Push", "experimentalRejectedIds"),
            ("PushConflictBody", "conflicts"),
            ("Pull", "newer"),
        ):
            assert SCHEMAS[schema]["properties"][name]["additionalProperties"]["items"]["type"] == "string"


class TestErrors:
    def test_have_a_path_whose_items_are_of_any_type(self):
        assert SCHEMAS["FieldError"]["properties"]["loc"]["items"] == {}


class TestAnEnumInAQueryString:
    def refer(self, schema: dict, known: dict) -> tuple[dict, dict]:
        """Return the parameter and the components after `refer_to_enums()`."""
        parameter = {"in": "query", "name": "order", "schema": schema, "description": "How they are sorted."}
        operation = {"operationId": "listNotes", "parameters": [parameter]}
        document = {"paths": {"/notes": {"get": operation}}, "components": {"schemas": known}}
        refer_to_enums(document)
        return parameter, document["components"]["schemas"]

    def test_becomes_a_component_that_is_named_after_the_operation(self):
        schema = {"type": "string", "enum": ["name", "recent"], "default": "name"}

        parameter, components = self.refer(schema, {})

        assert parameter["schema"] == {"$ref": "#/components/schemas/ListNotesOrder"}
        assert parameter["description"] == "How they are sorted. Default: `name`."
        assert components == {"ListNotesOrder": {"type": "string", "enum": ["name", "recent"]}}

    def test_refers_to_a_component_with_the_same_values(self):
        known = {"NoteOrder": {"type": "string", "enum": ["name", "recent"]}}

        parameter, components = self.refer({"type": "string", "enum": ["name", "recent"]}, dict(known))

        assert parameter["schema"] == {"$ref": "#/components/schemas/NoteOrder"}
        assert components == known
