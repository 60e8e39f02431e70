"""The service itself: `GET /v1` describes it for apps, and the page at `/` for people."""

from django.conf import settings
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.renderers import TemplateHTMLRenderer
from rest_framework.response import Response
from rest_framework.views import APIView

from countonme import __version__
from countonme.api.pagination import MAX_LIMIT
from countonme.api.parsers import MAX_CONTAINERS, MAX_VALUES
from countonme.api.renderers import JSONRenderer
from countonme.api.schema_views import JSONErrors
from devices.rates import parse_rate
from food_entries.serializers import MAX_BATCH
from sync.push.payload import MAX_ROWS
from sync.registry import tables

NAME = settings.SPECTACULAR_SETTINGS["TITLE"]
CACHE_CONTROL = "public, max-age=300"  # seconds; it changes with a release or a setting only


class RateSerializer(serializers.Serializer):
    count = serializers.IntegerField()
    seconds = serializers.IntegerField()


class RatesSerializer(serializers.Serializer):
    requests = RateSerializer(help_text="Requests of one device.")
    registrations = RateSerializer(
        help_text="Registrations from one address. The `count` is 0 if the operator accepts no new devices."
    )
    rotations = RateSerializer(help_text="Rotations of the token of one device.")


class LimitsSerializer(serializers.Serializer):
    body_bytes = serializers.IntegerField(help_text="The size of a request body.")
    sync_body_bytes = serializers.IntegerField(help_text="The size of the body of a push.")
    body_objects = serializers.IntegerField(help_text="The number of objects and arrays in a body.")
    body_values = serializers.IntegerField(help_text="The number of values in a body, objects and arrays included.")
    page_rows = serializers.IntegerField(help_text="The largest `limit` of a list.")
    batch_rows = serializers.IntegerField(help_text="The number of food entries in a batch.")
    push_rows = serializers.IntegerField(help_text="The number of rows and deletions that one push stores.")
    stored_rows = serializers.DictField(
        child=serializers.IntegerField(), help_text="The number of stored rows by table, deleted ones included."
    )
    stored_rows_per_parent = serializers.DictField(
        child=serializers.IntegerField(), help_text="The same for the rows of one parent: the portions of a product."
    )
    new_rows_first_day = serializers.IntegerField(help_text="New rows in the 24 hours after the registration.")
    new_rows_per_day = serializers.IntegerField(help_text="New rows in each 24 hours after that.")
    rates = RatesSerializer()


class ServiceSerializer(serializers.Serializer):
    name = serializers.CharField()
    version = serializers.CharField(help_text="The version of the server.")
    sync_tables = serializers.DictField(
        child=serializers.ListField(child=serializers.CharField()),
        help_text="The columns of each table of sync. An app that has other columns must not push them yet.",
    )
    limits = LimitsSerializer()


def describe_service() -> dict:
    return {
        "name": NAME,
        "version": __version__,
        "sync_tables": {table.name: list(table.columns) for table in tables()},
        "limits": limits(),
    }


def limits() -> dict:
    return {
        "body_bytes": settings.MAX_BODY,
        "sync_body_bytes": settings.SYNC_MAX_BODY,
        "body_objects": MAX_CONTAINERS,
        "body_values": MAX_VALUES,
        "page_rows": MAX_LIMIT,
        "batch_rows": MAX_BATCH,
        "push_rows": MAX_ROWS,
        "stored_rows": {table.name: getattr(settings, table.model.quota_setting) for table in tables()},
        "stored_rows_per_parent": {table.name: most for table in tables() if (most := table.max_children)},
        "new_rows_first_day": settings.NEW_ROWS_FIRST_DAY,
        "new_rows_per_day": settings.NEW_ROWS_PER_DAY,
        "rates": {
            "requests": rate(settings.DEVICE_RATE),
            "registrations": rate(settings.REGISTER_RATE or "0/min"),
            "rotations": rate(settings.ROTATE_RATE),
        },
    }


def rate(text: str) -> dict[str, int]:
    count, seconds = parse_rate(text)
    return {"count": count, "seconds": seconds}


@extend_schema(tags=["service"])
class ServiceView(APIView):
    authentication_classes = ()
    permission_classes = ()

    @extend_schema(operation_id="getService", summary="Describe the service", responses={200: ServiceSerializer})
    def get(self, request) -> Response:
        """Returns the version of the server, the tables and columns that it can sync, and its limits."""
        return Response(describe_service(), headers={"Cache-Control": CACHE_CONTROL})


class HomeView(JSONErrors, ServiceView):
    """A page with links to the documentation. Clients that accept only JSON get the response of `GET /v1`."""

    schema = None
    renderer_classes = (TemplateHTMLRenderer, JSONRenderer)
    template_name = "account/home.html"
