"""The OpenAPI document: what all operations share, such as errors and conditional reads.

Clients are generated from it. tests/project/test_code_generators.py has the rules that code generators need.
"""

import json

from django.core.exceptions import FieldDoesNotExist
from django.db import models
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import force_instance, get_doc
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema_field, extend_schema_serializer
from inflection import camelize
from rest_framework import serializers

from countonme.api.pagination import LINK

HEADER = OpenApiParameter.HEADER


# Without component names, these would hide the Error class of JavaScript. Swift clients have an ErrorResponse already.
@extend_schema_serializer(component_name="ErrorBody")
class ErrorSerializer(serializers.Serializer):
    detail = serializers.CharField(help_text="A description of the error, for developers.")


@extend_schema_serializer(component_name="ConflictBody")
class ConflictSerializer(ErrorSerializer):
    conflict = serializers.ListField(
        child=serializers.UUIDField(),
        help_text="The ids of the rows in the way: the product that has the barcode, or the ids that are taken. Empty "
        "if no other row is in the way.",
    )


@extend_schema_field({"type": "array", "items": {}})  # texts and numbers: generators can't read a `oneOf`
class LocField(serializers.ListField):
    pass


class FieldErrorSerializer(serializers.Serializer):
    loc = LocField(help_text='The path to the value: `["portions", 0, "grams"]`.')
    field = serializers.CharField(help_text="The same path as a text: `portions.0.grams`. Empty for the whole body.")
    msg = serializers.CharField()
    type = serializers.CharField(help_text="A code, such as `required` or `max_value`.")


@extend_schema_serializer(component_name="ValidationErrorBody")
class ValidationErrorSerializer(serializers.Serializer):
    detail = serializers.CharField()
    errors = FieldErrorSerializer(many=True)


ERRORS = {
    400: "The request is malformed: for example, its body is missing or is not JSON.",
    401: "No credentials, or a token that is not valid.",
    403: "The token is valid, but support has blocked the device. The app keeps its data.",
    404: "There is no such row, or the id is not a UUID.",
    406: "No media type in `Accept` is supported.",
    409: "A conflict with what is stored.",
    413: "The body is larger than 1 MiB (20 MiB in a push), or has more than 120,000 objects and arrays or 1,500,000 "
    "values.",
    415: "The body's media type is not supported, or the body is compressed.",
    422: "A value in the body or the query string is missing or invalid.",
    429: "Too many requests.",
    507: "The device has reached its quota of rows. Reads, edits and deletions still work.",
    500: "A bug in the service.",
    503: "The database cannot be reached, or the request took too long.",
}
REQUEST_ID = OpenApiParameter(
    "X-Request-ID",
    str,
    HEADER,
    response=True,
    description="The request's id in the log. A valid one from the client is kept.",
)
RETRY_AFTER = OpenApiParameter("Retry-After", int, HEADER, response=[429, 503], description="Seconds to wait.")
CONDITIONAL = [
    OpenApiParameter("If-None-Match", str, HEADER, description="An `ETag`. If it is still current: `304`."),
    OpenApiParameter("ETag", str, HEADER, response=[200, 304], description="A weak validator of this response."),
]


class ContractSchema(AutoSchema):
    """drf-spectacular's AutoSchema, which also lists every error that an operation can return.

    A view declares what can't be derived: `conditional_reads`, `conflicts`, `additions` and `query_class`.
    """

    def get_override_parameters(self) -> list:
        reads = CONDITIONAL if self._does("conditional_reads") else []
        pages = [self.view.query_class, LINK] if getattr(self.view, "action", None) == "list" else []
        return [REQUEST_ID, RETRY_AFTER, *reads, *pages]

    def get_description(self) -> str:
        """Return the docstring of the method. AutoSchema falls back to that of the view, which is for developers."""
        return get_doc(getattr(self.view, getattr(self.view, "action", self.method.lower())))

    def get_operation(self, *args) -> dict | None:
        operation = super().get_operation(*args)
        if operation:
            operation.setdefault("security", [])  # without it, the operation would need the token
            if "requestBody" in operation:
                operation["requestBody"]["required"] = True  # a missing one is a 400
        return operation

    def _get_request_for_media_type(self, serializer, direction="request"):
        if self.method == "PUT":  # PUT and PATCH mean the same: the fields sent are changed
            serializer = force_instance(serializer)
            serializer.partial = True
        return super()._get_request_for_media_type(serializer, direction)

    def _map_serializer(self, serializer, direction, bypass_extensions=False) -> dict:
        serializer = force_instance(serializer)
        schema = super()._map_serializer(serializer, direction, bypass_extensions)
        if not type(serializer).__doc__:
            schema.pop("description", None)  # that of its base class
        for name, field in schema.get("properties", {}).items():
            field.pop("readOnly", None)  # requests and responses have schemas of their own
            if isinstance(serializer, serializers.ModelSerializer) and direction == "response":
                describe_stored(field, serializer.fields[name])
            elif isinstance(serializer, serializers.ModelSerializer) and not serializer.partial:
                describe_sent(field, serializer.fields[name])
        if direction == "request" and "required" in schema:
            optional = getattr(serializer, "optional_in_schema", ())
            schema["required"] = [name for name in schema["required"] if name not in optional]
            if not schema["required"]:
                del schema["required"]
        if direction == "response" and isinstance(serializer, serializers.ModelSerializer):
            schema["required"] = sorted(schema["properties"])  # a response always has all fields of a row
        return schema

    def _get_response_bodies(self, direction="response") -> dict:
        responses = super()._get_response_bodies(direction)
        if self._does("conditional_reads"):
            responses["304"] = self._get_response_for_code(
                OpenApiResponse(description="The `ETag` in `If-None-Match` is still current."), "304"
            )
        if "201" in responses and "200" not in responses:
            retry = "A retry: a row with this `id` is stored already. Nothing was changed."
            responses["200"] = {**responses["201"], "description": retry}
        special = {409: getattr(self.view, "conflict_serializer", ConflictSerializer), 422: ValidationErrorSerializer}
        for status in sorted(self._errors()):
            body = special.get(status, ErrorSerializer)
            response = OpenApiResponse(body, description=ERRORS[status])
            responses.setdefault(str(status), self._get_response_for_code(response, str(status)))
        return responses

    def _errors(self) -> set[int]:
        errors = {406, 500, 503} if self.path != "/healthz" else {406, 500}
        if self.get_auth():
            errors |= {401, 403, 429}
        if "{" in self.path:
            errors |= {404}
        if self.method in ("POST", "PUT", "PATCH") and self.get_request_serializer() is not None:
            errors |= {400, 413, 415, 422}
        if any(parameter["in"] == "query" for parameter in self._get_parameters()):
            errors |= {400, 422}
        errors |= {409} if self._does("conflicts") else set()
        errors |= {507} if self._does("additions") else set()
        return errors | ({429} if self.view.throttle_classes else set())

    def _does(self, trait: str) -> bool:
        return getattr(self.view, "action", self.method.lower()) in getattr(self.view, trait, ())


def describe_stored(schema: dict, field: serializers.Field) -> None:
    """Let the schema of a field of a response allow what the column can have, not what a client may send."""
    for bound in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"):
        schema.pop(bound, None)
    column = column_of(field)
    if column is not None and not column.null:
        schema.pop("nullable", None)


def describe_sent(schema: dict, field: serializers.Field) -> None:
    """State the column's default in the description of a field of a request.

    With `default`, the clients of some generators always send the field, and those of others require it.
    """
    column = column_of(field)
    if field.required or column is None or not column.has_default() or callable(column.default):
        return
    schema["description"] = add_default(schema.get("description"), column.default)


def column_of(field: serializers.Field) -> models.Field | None:
    """Return the model field behind a field of a ModelSerializer; None if there is none."""
    try:
        column = field.parent.Meta.model._meta.get_field(field.source)
    except FieldDoesNotExist:
        return None
    return column if column.concrete else None


def refer_to_enums(result: dict, **kwargs) -> dict:
    """Let query parameters refer to components for their enums. drf-spectacular does this only for bodies.

    A default is stated in the description: in Dart, that of an enum does not compile.
    """
    schemas = result["components"]["schemas"]
    names = {tuple(schema["enum"]): name for name, schema in schemas.items() if "enum" in schema}
    for operation in (operation for path in result["paths"].values() for operation in path.values()):
        for parameter in operation.get("parameters", ()):
            schema = parameter["schema"]
            if "enum" in schema:
                own_name = camelize(f"{operation['operationId']}_{parameter['name']}")  # ListProductsOrder
                name = names.setdefault(tuple(schema["enum"]), own_name)
                schemas.setdefault(name, {"type": schema["type"], "enum": schema["enum"]})
                parameter["schema"] = {"$ref": f"#/components/schemas/{name}"}
                if "default" in schema:
                    parameter["description"] = add_default(parameter.get("description"), schema["default"])
    result["components"]["schemas"] = dict(sorted(schemas.items()))
    return result


def add_default(description: str | None, default) -> str:
    text = f"Default: `{default if isinstance(default, str) else json.dumps(default)}`."
    return f"{description} {text}" if description else text
