from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema
from rest_framework.views import APIView

from countonme.api.openapi import ErrorSerializer
from countonme.api.parsers import sent_data
from countonme.api.renderers import SecretResponse
from devices.models import Device
from devices.serializers import RegisterSerializer, TokenSerializer
from devices.throttling import RegistrationThrottle, RotationThrottle

TOKEN_EXAMPLE = OpenApiExample(
    "A token",
    {"token": "0d9c3c5e-3f2b-4c41-9b0e-6a3b6a6f2c11.Zm9vZCBpcyBub3QgYSBudW1iZXIsIGl0IGlzIGEgbWVh"},
    response_only=True,
)


@extend_schema(tags=["devices"])
class RegisterView(APIView):
    authentication_classes = ()
    permission_classes = ()
    throttle_classes = (RegistrationThrottle,)
    conflicts = ("post",)

    @extend_schema(
        operation_id="registerDevice",
        summary="Register a device",
        request=RegisterSerializer,
        responses={
            200: TokenSerializer,
            403: OpenApiResponse(ErrorSerializer, description="The operator accepts no new devices."),
        },
        examples=[
            OpenApiExample("A phone", {"device_id": "0d9c3c5e-3f2b-4c41-9b0e-6a3b6a6f2c11"}, request_only=True),
            TOKEN_EXAMPLE,
        ],
    )
    def post(self, request) -> SecretResponse:
        """Register a device under a UUID that it generated, and return its token.

        The token can't be read again. At most 10 registrations a minute from one address.
        """
        serializer = RegisterSerializer(data=sent_data(request))
        serializer.is_valid(raise_exception=True)
        return SecretResponse({"token": Device.objects.register(serializer.validated_data["device_id"])})


@extend_schema(tags=["devices"])
class RotateView(APIView):
    throttle_classes = (RotationThrottle,)

    @extend_schema(
        operation_id="rotateToken",
        summary="Replace the token",
        request=None,
        responses={200: TokenSerializer},
        examples=[TOKEN_EXAMPLE],
    )
    def post(self, request) -> SecretResponse:
        """Return a new token. The old token works until the new one is first used.

        So a lost response locks no device out: another request replaces a new token that has not been used. At most 10
        rotations an hour for one device; over the limit, the current token still works.
        """
        return SecretResponse({"token": request.user.rotate()})
