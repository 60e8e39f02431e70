"""Authentication by device token."""

from typing import NamedTuple
from uuid import UUID

from django.db.models import QuerySet
from django.http import HttpRequest
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import Throttled
from rest_framework.request import Request

from countonme.api.errors import DeviceBlocked, InvalidToken
from countonme.db.availability import retry_if_connection_died
from countonme.db.compiled import compiled_query
from countonme.observability import metrics
from devices import tokens
from devices.models import Device
from devices.rates import device_rates
from devices.throttling import FAILED_CHECKS, networks_of

EARLY_CHECK = "countonme.early_check"  # the key in `request.META`


class EarlyCheck(NamedTuple):
    """The outcome of a token check that ran before the view was resolved."""

    caller: tuple[Device, str] | None
    error: Exception | None


def check_early(request: HttpRequest) -> tuple[Device, str] | None:
    """Return the calling device and its token, or None if there is no token or the token is refused.

    The outcome is stored in `request.META` for DeviceTokenAuthentication. So each token is checked once, and a refusal
    gets the same response from the view as without an early check.
    """
    check = request.META.get(EARLY_CHECK)
    if check is None:
        try:
            check = EarlyCheck(caller_of(request), None)
        except Exception as error:  # noqa: BLE001 - the view raises it again
            check = EarlyCheck(None, error)
        request.META[EARLY_CHECK] = check
    return check.caller


class DeviceTokenAuthentication(BaseAuthentication):
    """Bearer-token authentication: sets `request.user` to the Device, with one query by primary key.

    The secret is checked before the rate limit, which counts wrong secrets only. So a valid token is never refused
    because of wrong ones. A token that is malformed, unknown or replaced, or whose device is deleted, gets a 401. A
    valid token of a blocked device gets a 403, so that the app knows that the token is still valid.
    """

    def authenticate(self, request) -> tuple[Device, str] | None:
        check = request.META.get(EARLY_CHECK)
        if check is None:
            return caller_of(request)
        if check.error:
            raise check.error
        return check.caller

    def authenticate_header(self, request) -> str:
        return "Bearer"


def caller_of(request: HttpRequest | Request) -> tuple[Device, str] | None:
    """Return the calling device and its token, or None if there is no token. Raises an APIException on a refusal."""
    scheme, _, token = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
    if scheme.lower() != "bearer":
        return None
    token = token.strip()
    device_id = tokens.parse(token)
    if device_id is None:
        metrics.count_token_check("malformed")
        raise InvalidToken
    device = existing_device(device_id)
    if tokens.is_remembered(token, device.token_hash):
        outcome = "remembered"
    else:
        device, outcome = check_token(request, token, device), "checked"
    if device.blocked_at is not None:
        metrics.count_token_check("blocked")
        raise DeviceBlocked
    metrics.count_token_check(outcome)
    if (wait := device_rates.wait(device_id)) is not None:
        raise Throttled(wait)
    device.update_last_seen()
    return device, token


def check_token(request: HttpRequest | Request, token: str, device: Device) -> Device:
    """Return the device if the token's secret is valid by bcrypt. Otherwise, count the failure and raise.

    Failures are counted per device and address together. So an attacker locks out neither the device at another address
    nor other devices at the same address. The first use of a rotated token invalidates the old one, unless the device
    is blocked.
    """
    while True:
        if tokens.check(token, device.token_hash):
            return device
        if device.next_token_hash is None or not tokens.check(token, device.next_token_hash):
            break
        if device.blocked_at is not None or device.complete_rotation():
            return device
        device = existing_device(device.pk)  # another request has changed the tokens
    wait = FAILED_CHECKS.count([f"{network} {device.pk}" for network in networks_of(request)])
    if wait is not None:
        metrics.count_token_check("throttled")
        raise Throttled(wait)
    metrics.count_token_check("wrong")
    raise InvalidToken


def existing_device(device_id: UUID) -> Device:
    """Return the device. Raises InvalidToken if it is unknown or deleted, without a bcrypt run or a write."""
    found = retry_if_connection_died(lambda: devices_by_id.models(pk=device_id))
    if not found or found[0].deleted_at is not None:
        metrics.count_token_check("unknown")
        raise InvalidToken
    return found[0]


@compiled_query
def devices_by_id(pk) -> QuerySet:
    # A change set reads the counters itself, under the device's lock.
    return Device.objects.filter(pk=pk).defer("row_counts", "new_rows", "new_rows_day")


class DeviceTokenScheme(OpenApiAuthenticationExtension):
    target_class = DeviceTokenAuthentication
    name = "deviceToken"

    def get_security_definition(self, auto_schema) -> dict:
        return {"type": "http", "scheme": "bearer", "description": "The token that `POST /v1/auth/register` returned."}
