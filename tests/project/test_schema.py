"""The OpenAPI document: its paths, statuses, bounds and examples."""

import json
import re

import pytest
from django.urls import URLPattern, get_resolver, resolve
from drf_spectacular.validation import validate_schema
from jsonschema import Draft4Validator

from countonme.api import schema_views
from countonme.api.renderers import JSONRenderer
from food_entries.serializers import ENTRY
from products.serializers import PORTION, PRODUCT

DOCUMENT = json.loads(JSONRenderer().render(schema_views.document()))
METHODS = {"get", "post", "put", "patch", "delete"}
OPERATIONS = [
    (path, method, operation)
    for path, operations in DOCUMENT["paths"].items()
    for method, operation in operations.items()
    if method in METHODS
]
NAMES = [f"{method.upper()} {path}" for path, method, _ in OPERATIONS]


def routes(patterns, prefix: str = ""):
    for pattern in patterns:
        if isinstance(pattern, URLPattern):
            yield f"/{prefix}{pattern.pattern}"
        else:
            yield from routes(pattern.url_patterns, prefix + str(pattern.pattern))


def schema_of(name: str) -> dict:
    """Return a component as a standalone JSON schema. OpenAPI 3.0 has its own notation for null."""
    components = DOCUMENT["components"]["schemas"]
    return {
        **nullable(components[name]),
        "components": {"schemas": {key: nullable(components[key]) for key in components}},
    }


def nullable(schema):
    if isinstance(schema, list):
        return [nullable(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {key: nullable(value) for key, value in schema.items()}
    return {"anyOf": [schema, {"type": "null"}]} if schema.pop("nullable", False) else schema


def examples(path: str, method: str, place: str) -> list:
    operation = DOCUMENT["paths"][path][method]
    content = operation["requestBody"] if place == "request" else operation["responses"][place]
    return [example["value"] for example in content["content"]["application/json"]["examples"].values()]


UNDOCUMENTED = ("/admin", "/metrics", "/v1/docs")  # not for API clients


class TestTheSchema:
    def test_is_a_valid_openapi_document(self, anonymous):
        response = anonymous.get("/v1/schema")

        assert response.status_code == 200
        validate_schema(response.json())

    def test_has_every_path(self):
        ours = {route for route in routes(get_resolver().url_patterns) if not route.startswith(UNDOCUMENTED)} - {"/"}

        assert len(ours) >= 12
        assert len(ours) == len(DOCUMENT["paths"])

    def test_has_a_named_route_for_every_path(self):
        unnamed = [
            match.route
            for path in DOCUMENT["paths"]
            if not (match := resolve(re.sub("{.*?}", "0d9c3c5e-3f2b-4c41-9b0e-6a3b6a6f2c11", path))).url_name
        ]

        assert unnamed == []

    @pytest.mark.parametrize(("path", "method", "operation"), OPERATIONS, ids=NAMES)
    def test_has_a_body_for_every_error(self, path, method, operation):
        errors = {status: response for status, response in operation["responses"].items() if status >= "400"}

        assert {"406", "500"} <= errors.keys()
        for status, response in errors.items():
            body = response["content"]["application/json"]["schema"]["$ref"]
            conflict = "PushConflictBody" if path == "/v1/sync" else "ConflictBody"
            named = {"409": conflict, "422": "ValidationErrorBody"}
            assert body.rpartition("/")[2] == named.get(status, "ErrorBody")

    def test_requires_the_ids_of_a_conflict(self):
        conflict = DOCUMENT["components"]["schemas"]["ConflictBody"]

        assert conflict["required"] == ["conflict", "detail"]
        assert conflict["properties"]["conflict"]["items"] == {"type": "string", "format": "uuid"}

    @pytest.mark.parametrize(("path", "method", "operation"), OPERATIONS, ids=NAMES)
    def test_states_which_calls_require_a_token(self, path, method, operation):
        without_token = {"/healthz", "/readyz", "/v1", "/v1/schema", "/v1/auth/register", "/v1/erasures/{id}"}

        assert bool(operation["security"]) == (path not in without_token)
        assert ("401" in operation["responses"]) == (path not in without_token)
        assert ("403" in operation["responses"]) == (path not in without_token - {"/v1/auth/register"})

    @pytest.mark.parametrize(
        ("path", "method", "statuses"),
        [
            ("/v1/auth/register", "post", "200 400 403 406 409 413 415 422 429 500 503"),
            ("/v1/auth/rotate", "post", "200 401 403 406 429 500 503"),
            ("/v1/devices/me", "get", "200 401 403 406 429 500 503"),
            ("/v1/devices/me", "delete", "204 400 401 403 406 409 422 429 500 503"),
            ("/v1/erasures/{id}", "get", "200 404 406 410 500 503"),
            ("/v1/products", "get", "200 304 400 401 403 406 422 429 500 503"),
            ("/v1/products", "post", "200 201 400 401 403 406 409 413 415 422 429 500 503 507"),
            ("/v1/products/{id}", "get", "200 304 401 403 404 406 429 500 503"),
            ("/v1/products/{id}", "patch", "200 400 401 403 404 406 409 413 415 422 429 500 503"),
            ("/v1/products/{id}", "delete", "204 401 403 404 406 429 500 503"),
            ("/v1/products/{id}/restore", "post", "200 401 403 404 406 409 429 500 503 507"),
            ("/v1/products/{product_id}/portions", "get", "200 304 400 401 403 404 406 422 429 500 503"),
            ("/v1/portions/{id}", "delete", "204 401 403 404 406 409 429 500 503"),
            ("/v1/portions/{id}/restore", "post", "200 401 403 404 406 409 429 500 503"),
            ("/v1/food-entries", "post", "200 201 400 401 403 406 409 413 415 422 429 500 503 507"),
            ("/v1/food-entries/batch", "post", "200 201 400 401 403 406 409 413 415 422 429 500 503 507"),
            ("/v1/food-entries/{id}", "put", "200 400 401 403 404 406 413 415 422 429 500 503"),
            ("/v1/food-entries/{id}/restore", "post", "200 401 403 404 406 429 500 503"),
            ("/v1/food-entries/summary", "get", "200 304 400 401 403 406 422 429 500 503"),
            ("/v1/sync", "get", "200 304 400 401 403 406 422 429 500 503"),
            ("/v1/sync", "post", "200 400 401 403 406 409 413 415 422 429 500 503"),
            ("/v1", "get", "200 406 500 503"),
            ("/healthz", "get", "200 406 500"),
            ("/readyz", "get", "200 406 500 503"),
        ],
    )
    def test_lists_the_statuses_of(self, path, method, statuses):
        assert sorted(DOCUMENT["paths"][path][method]["responses"]) == statuses.split()

    @pytest.mark.parametrize(
        ("component", "field", "bounds"),
        [
            ("ProductRequest", "name", {"type": "string", "minLength": 1, "maxLength": 100}),
            ("ProductRequest", "kcal_100g", {"type": "integer", "minimum": 0, "maximum": 1000}),
            ("ProductRequest", "fat_100g", {"type": "number", "minimum": 0, "maximum": 100, "nullable": True}),
            ("ProductRequest", "barcode", {"pattern": "^([0-9]{8}|[0-9]{12,14})$", "nullable": True}),
            ("PortionRequest", "grams", {"type": "number", "minimum": 0.01, "maximum": 10000}),
            ("FoodEntryRequest", "grams", {"type": "number", "minimum": 0.01, "maximum": 100000, "nullable": True}),
            ("FoodEntryRequest", "quantity", {"type": "number", "minimum": 0.01, "maximum": 1000, "nullable": True}),
            ("FoodEntryRequest", "date", {"type": "string", "format": "date"}),
        ],
    )
    def test_states_the_bounds_of(self, component, field, bounds):
        stated = DOCUMENT["components"]["schemas"][component]["properties"][field]

        assert bounds.items() <= stated.items()

    def test_states_the_maximum_size_of_a_batch(self):
        (content,) = DOCUMENT["paths"]["/v1/food-entries/batch"]["post"]["requestBody"]["content"].values()

        assert content["schema"] == {
            "type": "array",
            "items": {"$ref": "#/components/schemas/FoodEntryRequest"},
            "maxItems": 100,
        }

    def test_requires_every_body(self):
        bodies = [
            operation["requestBody"]
            for operations in DOCUMENT["paths"].values()
            for operation in operations.values()
            if "requestBody" in operation
        ]

        assert len(bodies) >= 10
        assert all(body["required"] for body in bodies)

    @pytest.mark.parametrize("name", ["Product", "Portion", "FoodEntry"])
    def test_requires_every_field_of_a_row(self, name):
        row = DOCUMENT["components"]["schemas"][name]

        assert row["required"] == sorted(row["properties"])

    def test_allows_no_other_tables_and_lists_in_a_push(self):
        schemas = DOCUMENT["components"]["schemas"]
        tables = schemas["PushedChangesRequest"]["properties"].values()

        assert schemas["PushedChangesRequest"]["additionalProperties"] is False
        for table in tables:
            assert schemas[table["$ref"].rpartition("/")[2]]["additionalProperties"] is False

    def test_has_no_id_in_the_body_of_an_update(self):
        components = DOCUMENT["components"]["schemas"]

        for name in ("PatchedProductRequest", "PatchedPortionRequest", "PatchedFoodEntryRequest"):
            assert "id" not in components[name]["properties"]
            assert "required" not in components[name]
        for path in ("/v1/products/{id}", "/v1/portions/{id}", "/v1/food-entries/{id}"):
            bodies = [DOCUMENT["paths"][path][method]["requestBody"]["content"] for method in ("put", "patch")]
            assert bodies[0] == bodies[1]


class TestTheExamples:
    def test_are_valid_requests_and_responses(self, api, anonymous):
        for body in examples("/v1/auth/register", "post", "request"):
            assert anonymous.post("/v1/auth/register", body).json().keys() == {"token"}
        for body in examples("/v1/products", "post", "request"):
            product = api.post("/v1/products", {**body, "id": PRODUCT["id"]})
            assert product.status_code == 201
        for body in examples("/v1/products/{product_id}/portions", "post", "request"):
            portion = api.post(f"/v1/products/{PRODUCT['id']}/portions", {**body, "id": PORTION["id"]})
            assert portion.status_code == 201
        sent = examples("/v1/food-entries", "post", "request")
        entries = [api.post("/v1/food-entries", body) for body in sent]
        assert [entry.status_code for entry in entries] == [201] * len(sent)
        (batch,) = examples("/v1/food-entries/batch", "post", "request")
        assert api.post("/v1/food-entries/batch", batch).status_code == 201

        for real, shown, component in (
            (product.json(), PRODUCT, "Product"),
            (portion.json(), PORTION, "Portion"),
            (entries[0].json(), ENTRY, "FoodEntry"),
        ):
            assert real.keys() == shown.keys()
            Draft4Validator(schema_of(component)).validate(real)
            Draft4Validator(schema_of(component)).validate(shown)
        assert {name: entries[0].json()[name] for name in ("quantity", "grams")} == {"quantity": 2.0, "grams": 71.0}

    def test_of_a_summary_matches_the_schema_of_a_day(self, api):
        (shown,) = examples("/v1/food-entries/summary", "get", "200")
        (real,) = api.get("/v1/food-entries/summary?from=2026-01-05&to=2026-01-05").json()

        assert real.keys() == shown[0].keys()
        for day in (real, shown[0]):
            Draft4Validator(schema_of("DaySummary")).validate(day)
