import uuid
from datetime import timedelta

from django.urls import reverse
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.response import Response
from rest_framework.views import APIView

from account import ledger
from account.serializers import DeviceSerializer, ErasureQuery, ErasureSerializer
from countonme.api.errors import Gone, NotFound
from countonme.api.openapi import ErrorSerializer
from countonme.api.renderers import JSONResponse
from devices.models import Erasure

RECEIPT_KEPT_FOR = timedelta(days=365)
LOCATION = OpenApiParameter(
    "Location", str, OpenApiParameter.HEADER, response=[204], description="The receipt: `/v1/erasures/{id}`."
)


@extend_schema(tags=["devices"])
class MeView(APIView):
    conflicts = ("delete",)

    @extend_schema(operation_id="getDevice", summary="Read the device", responses={200: DeviceSerializer})
    def get(self, request) -> JSONResponse:
        """Return the device that the token belongs to."""
        return JSONResponse(DeviceSerializer(request.user).data)

    @extend_schema(
        operation_id="eraseDevice",
        summary="Erase the device",
        parameters=[ErasureQuery, LOCATION],
        responses={204: None},
    )
    def delete(self, request) -> Response:
        """Erase the device and all its data.

        The token is refused and the data is hidden at once. A nightly job removes the data. `Location` is the URL of a
        receipt, which can be read without a token. If the response is lost, a retry gets `401`: then read the receipt
        with the `erasure_id` that you chose.
        """
        query = ErasureQuery(data=request.query_params.dict(), context={"device": request.user})
        query.is_valid(raise_exception=True)
        erasure = Erasure.objects.request(request.user.pk, query.validated_data.get("erasure_id") or uuid.uuid4())
        ledger.try_to_add([ledger.Entry.of(erasure)])
        return Response(status=204, headers={"Location": reverse("erasure", args=[erasure.pk])})


@extend_schema(tags=["devices"])
class ErasureView(APIView):
    authentication_classes = ()
    permission_classes = ()

    @extend_schema(
        operation_id="getErasure",
        summary="Read the receipt of an erasure",
        responses={
            200: ErasureSerializer,
            410: OpenApiResponse(ErrorSerializer, description="The receipt has expired, a year after the erasure."),
        },
    )
    def get(self, request, pk: uuid.UUID | None) -> JSONResponse:
        """Return when the erasure was requested, when it was completed, and when the last backup expires.

        No token is needed. The receipt can be read for a year after the erasure.
        """
        erasure = Erasure.objects.filter(pk=pk).first()
        if erasure is None:
            raise NotFound("Erasure not found")
        if erasure.erased_at is not None and timezone.now() - erasure.erased_at > RECEIPT_KEPT_FOR:
            raise Gone("This receipt has expired.")
        return JSONResponse(ErasureSerializer(erasure).data)
