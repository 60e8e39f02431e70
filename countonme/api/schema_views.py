"""The OpenAPI document and its Swagger UI page."""

from functools import cache
from threading import Lock

from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from drf_spectacular.views import SpectacularSwaggerSplitView
from rest_framework.response import Response
from rest_framework.views import APIView

from countonme.api.renderers import JSONRenderer


class SchemaView(APIView):
    authentication_classes = ()
    permission_classes = ()

    @extend_schema(
        tags=["service"], operation_id="getSchema", summary="OpenAPI document", responses={200: OpenApiTypes.OBJECT}
    )
    def get(self, request) -> Response:
        """Returns the OpenAPI document of this API."""
        return Response(document())


class JSONErrors:
    """Mixin for views of pages: errors are JSON here too."""

    def finalize_response(self, request, response, *args, **kwargs) -> Response:
        if response.exception:
            request.accepted_renderer, request.accepted_media_type = JSONRenderer(), JSONRenderer.media_type
        return super().finalize_response(request, response, *args, **kwargs)


class DocsView(JSONErrors, SpectacularSwaggerSplitView):
    """Swagger UI. The page loads its scripts and styles from this service only."""

    url_name = "schema"
    template_name = "countonme/docs.html"


_making = Lock()  # the generator keeps state in its classes: one thread at a time


def document() -> dict:
    """Return the OpenAPI document. It is generated once per process, because that is slow."""
    with _making:
        return _made()


@cache
def _made() -> dict:
    return SchemaGenerator().get_schema(request=None, public=True)
