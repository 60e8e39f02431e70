from django.http import HttpResponseBase, HttpResponseNotModified, StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.views import APIView

from catalog.bundles import describe, parts_of, published_bundles
from catalog.etags import CACHE_CONTROL, CatalogReads
from catalog.food import gtin_14
from catalog.reading import find_barcode, finished_releases, load
from catalog.search import search as find_ids
from catalog.serializers import MAX_OFFSET, BundleSerializer, FoodQuery, FoodSerializer, SourceSerializer
from catalog.sources import SOURCES
from countonme.api.errors import NotFound
from countonme.api.pagination import page
from countonme.api.renderers import JSONResponse
from ownership.etags import is_current, make_etag, set_etag
from ownership.viewsets import APIViewSet

GZIP = "application/gzip"


@extend_schema(tags=["catalog"])
class FoodViewSet(CatalogReads, APIViewSet):
    """The foods of the catalogue, the same for all devices."""

    query_class = FoodQuery
    serializer_class = FoodSerializer

    @extend_schema(operation_id="searchFoods", summary="Search foods", responses={200: FoodSerializer(many=True)})
    def list(self, request) -> JSONResponse:
        """Return the foods that have all words, best match first, or the one that has the barcode.

        The last word may be incomplete, and words may have typing errors. Generic foods come first, then popular ones,
        except that a `lang` other than `en` puts whole words first. If `barcode` is sent, `search` is ignored.
        """
        foods, headers = page(request, find, max_offset=MAX_OFFSET, **self.validate_query())
        return JSONResponse(foods, headers=headers)

    @extend_schema(operation_id="getFood", summary="Read a food")
    def retrieve(self, request, pk) -> JSONResponse:
        """Return a food, also if its source no longer has it."""
        foods = load([str(pk)]) if pk else []
        if not foods:
            raise NotFound("Food not found")
        return JSONResponse(foods[0])


@extend_schema(tags=["catalog"])
class BundlesView(CatalogReads, APIView):
    @extend_schema(
        operation_id="listFoodBundles", summary="List the bundles", responses={200: BundleSerializer(many=True)}
    )
    def get(self, request) -> JSONResponse:
        """Return the bundle of each source that has one: a file with its foods, for offline use."""
        bundles = [bundle for name in SOURCES for bundle in published_bundles(name)[:1]]
        return JSONResponse(
            [{**describe(bundle), "size": bundle.size, "published_at": bundle.published_at} for bundle in bundles]
        )


@extend_schema(tags=["catalog"])
class BundleView(CatalogReads, APIView):
    def perform_content_negotiation(self, request, force=True) -> tuple:
        """Ignore `Accept`: a file has only one form, and errors are JSON."""
        return super().perform_content_negotiation(request, force)

    @extend_schema(
        operation_id="getFoodBundle",
        summary="Download a bundle",
        parameters=[OpenApiParameter("source", str, OpenApiParameter.PATH, description="`usda` or `off`.")],
        responses={(200, GZIP): OpenApiTypes.BINARY},
    )
    def get(self, request, source) -> HttpResponseBase:
        """Return a gzipped file with a JSON object on each line.

        The first line has `source`, `release`, `license`, `attribution` and `count`. Each other line is a food, the
        best first, without what is the same for all: `source`, `license`, `attribution` and `withdrawn`.
        """
        bundle = published_bundles(source).first() if source in SOURCES else None
        if bundle is None:
            raise NotFound("Bundle not found")
        self.etag = make_etag(request, f"bundle {bundle.digest}")
        if is_current(request.META.get("HTTP_IF_NONE_MATCH", ""), self.etag):
            return set_etag(HttpResponseNotModified(), self.etag, CACHE_CONTROL)
        headers = {
            "Content-Length": str(bundle.size),
            "Content-Disposition": f'attachment; filename="{source}.ndjson.gz"',
        }
        return StreamingHttpResponse(parts_of(bundle), content_type=GZIP, headers=headers)


@extend_schema(tags=["catalog"])
class SourcesView(CatalogReads, APIView):
    @extend_schema(
        operation_id="listFoodSources", summary="List the sources", responses={200: SourceSerializer(many=True)}
    )
    def get(self, request) -> JSONResponse:
        """Return where the foods come from. An app must show the attribution of each source that it shows foods of."""
        return JSONResponse([source for name in SOURCES for source in describe_source(name)])


def describe_source(name: str) -> list[dict]:
    """Return a description of a source in a list, which is empty before its first import."""
    source = SOURCES[name]
    constants = {"license": source.license, "attribution": source.attribution, "url": source.url}
    return [
        {"source": name, **constants, "foods": foods, "release": number, "imported_at": finished_at}
        for number, foods, finished_at in finished_releases.json_tuples(source=name, limit=1)
    ]


def find(*, limit: int, offset: int, search: str = "", lang: str | None = None, barcode: str | None = None) -> list:
    """Return the foods of a page."""
    if barcode is not None:
        return find_barcode(gtin_14(barcode) or "")[offset:]
    return load(find_ids(search, lang, offset + limit)[offset:])
