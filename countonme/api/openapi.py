"""The OpenAPI document: what all operations share, such as errors and conditional reads."""

from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import force_instance, get_doc
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema_field
from rest_framework import serializers

from countonme.api.pagination import LINK

HEADER = OpenApiParameter.HEADER


class ErrorSerializer(serializers.Serializer):
    detail = serializers.CharField(help_text="A description of the error, for developers.")


class ConflictSerializer(ErrorSerializer):
    conflict = serializers.ListField(
        child=serializers.UUIDField(),
        help_text="The ids of the rows in the way: the product that has the barcode, or the ids that are taken. Empty "
        "if no other row is in the way.",
    )


@extend_schema_field({"type": "array", "items": {"oneOf": [{"type": "string"}, {"type": "integer"}]}})
class LocField(serializers.ListField):
    pass


class FieldErrorSerializer(serializers.Serializer):
    loc = LocField(help_text='The path to the value: `["portions", 0, "grams"]`.')
    msg = serializers.CharField()
    type = serializers.CharField(help_text="A code, such as `required` or `max_value`.")


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
        if operation and "requestBody" in operation:
            operation["requestBody"]["required"] = True  # a missing one is a 400
        return operation

    def _get_request_for_media_type(self, serializer, direction="request"):
        if self.method == "PUT":  # PUT and PATCH mean the same: the fields sent are changed
            serializer = force_instance(serializer)
            serializer.partial = True
        return super()._get_request_for_media_type(serializer, direction)

    def _map_serializer(self, serializer, direction, bypass_extensions=False) -> dict:
        schema = super()._map_serializer(serializer, direction, bypass_extensions)
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
