"""Error responses. Domain code raises exceptions; this module alone turns them into responses.

Every error's body is `{"detail": text}`. A 422 also has `errors`, a list of `{"loc", "field", "msg", "type"}`. A 409
also has `conflict`, a list of ids.
"""

import logging
import re
import sys
from collections.abc import Collection, Iterable
from uuid import UUID

from django.apps import apps
from django.core.exceptions import SuspiciousOperation
from django.db import IntegrityError, models
from django.http import JsonResponse, UnreadablePostError
from rest_framework import exceptions, status
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.response import Response
from rest_framework.settings import api_settings

from countonme.db.availability import DATABASE_AWAY, LOCK_NOT_AVAILABLE, QUERY_CANCELED, is_away, sqlstate_of

__all__ = [
    "Conflict",
    "DeviceBlocked",
    "Gone",
    "InvalidToken",
    "NotFound",
    "RegistrationClosed",
    "Unavailable",
    "ValidationError",
    "error_item",
    "exception_handler",
    "id_taken",
    "refusal",
]

SQLITE_UNIQUE = re.compile(r"UNIQUE constraint failed: (.+)")

log = logging.getLogger(__name__)


class Conflict(exceptions.APIException):
    """A 409. `conflict` has the ids of the rows in the way: the caller's own live rows, or ids that the caller sent."""

    status_code = status.HTTP_409_CONFLICT
    default_code = "conflict"

    def __init__(self, detail: str | None = None, *, conflict: Iterable[UUID] = ()):
        super().__init__(detail)
        self.body = {"conflict": list(conflict)}


class Gone(exceptions.APIException):
    status_code = status.HTTP_410_GONE
    default_code = "gone"


class InvalidToken(exceptions.AuthenticationFailed):
    default_detail = "Invalid or expired token"


class DeviceBlocked(exceptions.PermissionDenied):
    default_detail = "This device is blocked. Contact support."
    default_code = "device_blocked"


class RegistrationClosed(exceptions.PermissionDenied):
    default_detail = "This service accepts no new devices."
    default_code = "registration_closed"


class Unavailable(exceptions.APIException):
    status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    default_detail = "Service unavailable"
    wait = 5  # seconds, sent as Retry-After


class TooSlow(Unavailable):
    default_detail = "The request took too long. Try a smaller one, or try again later."
    log_line = "A statement was too slow and was ended"


class InUse(Unavailable):
    default_detail = "Another request is changing the same data. Try again later."
    log_line = "A statement waited too long for a lock and was ended"


TIMEOUT_ERRORS = {QUERY_CANCELED: TooSlow, LOCK_NOT_AVAILABLE: InUse}


def id_taken(*ids: UUID) -> Conflict:
    """Return the 409 for new rows whose ids are taken. `ids` must be those that the client has sent."""
    return Conflict("This id is taken", conflict=ids)


def refusal(field: str, message: str, code: str) -> ValidationError:
    """Return a validation error (422) of one field."""
    return ValidationError({field: [exceptions.ErrorDetail(message, code)]})


def exception_handler(error: Exception, context: dict | None = None) -> Response | None:
    """Return the response to an exception that a view raised. Return None for a bug: Django logs it and sends a 500."""
    if isinstance(error, ValidationError):
        body = {"detail": "Validation error", "errors": list(flatten_errors(error.detail))}
        return Response(body, status=status.HTTP_422_UNPROCESSABLE_ENTITY)
    if isinstance(error, IntegrityError):
        error = conflict_of(error) or error
    elif timed_out := timeout_error(error):
        error = timed_out
    elif is_away(error):
        log.error("The database did not answer", exc_info=error)
        error = Unavailable()
    elif isinstance(error, (SuspiciousOperation, UnreadablePostError)):
        error = exceptions.ParseError("Bad request")
    if not isinstance(error, exceptions.APIException):
        return None
    headers = {}
    if isinstance(error, exceptions.MethodNotAllowed):
        headers["Allow"] = ", ".join(context["view"].allowed_methods)
    if challenge := getattr(error, "auth_header", None):
        headers["WWW-Authenticate"] = challenge
    if wait := getattr(error, "wait", None):
        headers["Retry-After"] = str(wait)
    body = {"detail": error.detail, **getattr(error, "body", {})}
    return Response(body, status=error.status_code, headers=headers)


def timeout_error_class(error: BaseException | None) -> type[Unavailable] | None:
    """Return the 503 for a statement that PostgreSQL cancelled after a timeout; None for any other error."""
    return TIMEOUT_ERRORS.get(sqlstate_of(error)) if isinstance(error, DATABASE_AWAY) else None


def timeout_error(error: BaseException | None) -> Unavailable | None:
    """Like `timeout_error_class()`, but return an instance, and log a warning."""
    if error_class := timeout_error_class(error):
        log.warning(error_class.log_line)
        return error_class()
    return None


def process_exception(error: Exception) -> JsonResponse | None:
    """Return the response to a database timeout in a plain Django view, before Django logs it as a bug."""
    timed_out = timeout_error(error)
    return timed_out and unavailable(timed_out)


def error_item(loc: Collection[str | int], message: str, code: str) -> dict:
    """Return one of the `errors` of a 422. `field` is `loc` as a text: code generators can't express a list of both."""
    return {"loc": list(loc), "field": ".".join(map(str, loc)), "msg": message, "type": code}


def flatten_errors(detail, loc: tuple = ()):
    """Yield an `error_item()` for each error in DRF's nested dicts and lists."""
    if isinstance(detail, exceptions.ErrorDetail):
        yield error_item(loc, detail, detail.code)
    elif isinstance(detail, dict):
        for name, inner in detail.items():
            yield from flatten_errors(inner, loc if name == api_settings.NON_FIELD_ERRORS_KEY else (*loc, name))
    else:
        for index, inner in enumerate(detail):
            yield from flatten_errors(inner, loc if isinstance(inner, exceptions.ErrorDetail) else (*loc, index))


def conflict_of(error: IntegrityError) -> Conflict | None:
    """Return the 409 for a violated unique constraint, with its message. Return None for any other: that is a bug.

    Call this after the transaction was rolled back, because it may query which row is in the way.
    """
    cause, violated = error.__cause__, None
    row = getattr(error, "row", None)  # the row that could not be stored: countonme/db/statements.py
    if diagnosis := getattr(cause, "diag", None):
        if diagnosis.sqlstate == "23505":
            violated = diagnosis.constraint_name
    elif match := SQLITE_UNIQUE.search(str(cause)):
        violated = match[1]
    if violated is None:
        return None
    for model in apps.get_models():
        table = model._meta.db_table
        # If there is also a unique key of device and id, PostgreSQL may name that one or the primary key.
        with_device = f"{model._meta.model_name}_is_of_its_device"
        if violated in (f"{table}_pkey", with_device, f"{table}.{model._meta.pk.column}"):
            return id_taken(row.pk) if row else id_taken()
        for constraint in model._meta.constraints:
            is_unique = isinstance(constraint, models.UniqueConstraint)
            if is_unique and violated in (constraint.name, sqlite_name(constraint, model)):
                in_the_way = row.find_ids_in_the_way(constraint) if row else []
                return Conflict(constraint.get_violation_error_message(), conflict=in_the_way)
    return None


def sqlite_name(constraint: models.UniqueConstraint, model) -> str:
    """Return the columns of a unique constraint, as SQLite lists them in its error message."""
    return ", ".join(f"{model._meta.db_table}.{model._meta.get_field(name).column}" for name in constraint.fields)


def bad_request(request, exception=None) -> JsonResponse:
    return JsonResponse({"detail": "Bad request"}, status=400)


def permission_denied(request, exception=None) -> JsonResponse:
    return JsonResponse({"detail": "Forbidden"}, status=403)


def csrf_failure(request, reason: str = "") -> JsonResponse:
    detail = "The form is too old, or the browser sends no cookies. Reload the page and try again."
    return JsonResponse({"detail": detail}, status=403)


def not_found(request, exception=None) -> JsonResponse:
    return JsonResponse({"detail": "Not found"}, status=404)


def method_not_allowed(request, allowed: Iterable[str]) -> JsonResponse:
    body = {"detail": f'Method "{request.method}" not allowed.'}
    return JsonResponse(body, status=405, headers={"Allow": ", ".join(allowed)})


def server_error(request) -> JsonResponse:
    error = sys.exc_info()[1]
    outage = timeout_error(error) or (Unavailable() if is_away(error) else None)
    return unavailable(outage) if outage else JsonResponse({"detail": "Internal server error"}, status=500)


def unavailable(error: Unavailable) -> JsonResponse:
    return JsonResponse({"detail": error.detail}, status=503, headers={"Retry-After": str(error.wait)})
