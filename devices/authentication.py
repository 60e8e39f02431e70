from django.db.models import QuerySet
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication, get_authorization_header

from countonme.errors import InvalidToken
from countonme.prepared import Prepared, once_more
from devices import tokens
from devices.models import Device


class DeviceTokenAuthentication(BaseAuthentication):
    """Find out which device calls. One query, by primary key; `request.user` is the Device.

    A token that is malformed, unknown or replaced, or whose device is deleted, gets one and the same refusal.
    """

    def authenticate(self, request) -> tuple[Device, str] | None:
        scheme, _, token = get_authorization_header(request).decode("latin-1").partition(" ")
        if scheme.lower() != "bearer":
            return None
        token = token.strip()
        device = self.device_of(token)
        if device is None:
            raise InvalidToken
        device.seen()
        return device, token

    def authenticate_header(self, request) -> str:
        return "Bearer"

    def device_of(self, token: str) -> Device | None:
        device_id = tokens.parse(token)
        found = device_id and once_more(lambda: devices_by_id(pk=device_id))
        if not found or found[0].deleted_at is not None:
            return None
        device = found[0]
        if tokens.check(token, device.token_hash):
            return device
        if device.next_token_hash is None or not tokens.check(token, device.next_token_hash):
            return None
        # The rotated token's first use. Where another request was first, the tokens are what it made them.
        return device if device.settle() else self.device_of(token)


@Prepared
def devices_by_id(pk) -> QuerySet:
    return Device.objects.filter(pk=pk)


class DeviceTokenScheme(OpenApiAuthenticationExtension):
    target_class = DeviceTokenAuthentication
    name = "deviceToken"

    def get_security_definition(self, auto_schema) -> dict:
        return {"type": "http", "scheme": "bearer", "description": "The token that `POST /v1/auth/register` answered."}
