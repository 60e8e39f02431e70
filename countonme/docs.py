from functools import cache

from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from drf_spectacular.views import SpectacularSwaggerView
from rest_framework.response import Response
from rest_framework.views import APIView


class SchemaView(APIView):
    authentication_classes = ()
    permission_classes = ()

    @extend_schema(
        tags=["service"], operation_id="schema", summary="This document", responses={200: OpenApiTypes.OBJECT}
    )
    def get(self, request) -> Response:
        """The OpenAPI document of the service."""
        return Response(document())


class DocsView(SpectacularSwaggerView):
    """The same, to read and try in a browser. What it loads comes from this service."""

    url_name = "schema"


@cache
def document() -> dict:
    """Return the OpenAPI document. Made once a process: it is the same for everybody, and takes a while."""
    return SchemaGenerator().get_schema(request=None, public=True)
