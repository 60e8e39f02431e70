from uuid import UUID

from django.db.models import QuerySet
from django.http import HttpRequest
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import Throttled

from countonme import metrics
from countonme.errors import InvalidToken
from countonme.prepared import Prepared, once_more
from devices import tokens
from devices.models import Device
from devices.throttling import GUESSES, address_of


class DeviceTokenAuthentication(BaseAuthentication):
    """Find out which device calls. One query, by primary key; `request.user` is the Device.

    A token that is malformed, unknown or replaced, or whose device is deleted or blocked, gets one and the same
    refusal. Wrong ones from one address are limited by `AUTH_FAILURE_RATE`: over it, a token there whose verdict is not
    remembered has to wait. A malformed one is no guess, and refusing it costs nothing.
    """

    def authenticate(self, request) -> tuple[Device, str] | None:
        sent = request._request
        if hasattr(sent, "refusal"):
            raise sent.refusal
        return getattr(sent, "caller", None) or caller_of(sent)

    def authenticate_header(self, request) -> str:
        return "Bearer"


def caller_of(request: HttpRequest) -> tuple[Device, str] | None:
    """Return the device that calls and its token, or None where there is no token. Raises what the view answers."""
    scheme, _, token = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
    if scheme.lower() != "bearer":
        return None
    token = token.strip()
    device_id = tokens.parse(token)
    if device_id is None:
        metrics.token_checked("malformed")
        raise InvalidToken
    device = active(device_id)
    if device is not None and tokens.is_remembered(token, device.token_hash):
        metrics.token_checked("remembered")
    else:
        device = proved(request, token, device)
    device.seen()
    return device, token


def proved(request: HttpRequest, token: str, device: Device | None) -> Device:
    """Return the device if bcrypt says that the token is its own. Who guessed too often is refused before it runs.

    The guess is counted when it has failed, so that a good token costs no write: requests that are under way at the
    same time, no more than there are threads, can be too many by so many.
    """
    address = address_of(request)
    if wait := GUESSES.wait(address):
        metrics.token_checked("throttled")
        raise Throttled(wait)
    while device:
        if tokens.check(token, device.token_hash):
            metrics.token_checked("checked")
            return device
        if device.next_token_hash is None or not tokens.check(token, device.next_token_hash):
            break
        if device.settle():  # the rotated token's first use
            metrics.token_checked("checked")
            return device
        device = active(device.pk)  # another request was first: the tokens are what it made them
    GUESSES.take(address)
    metrics.token_checked("wrong" if device else "unknown")
    raise InvalidToken


def active(device_id: UUID) -> Device | None:
    """Return the device, unless it is deleted or blocked."""
    found = once_more(lambda: devices_by_id(pk=device_id))
    return next((device for device in found if device.deleted_at is None and device.blocked_at is None), None)


@Prepared
def devices_by_id(pk) -> QuerySet:
    return Device.objects.filter(pk=pk).defer("row_counts")  # which only a change set reads


class DeviceTokenScheme(OpenApiAuthenticationExtension):
    target_class = DeviceTokenAuthentication
    name = "deviceToken"

    def get_security_definition(self, auto_schema) -> dict:
        return {"type": "http", "scheme": "bearer", "description": "The token that `POST /v1/auth/register` answered."}
