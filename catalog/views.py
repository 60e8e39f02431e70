from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework.views import APIView

from catalog.etags import CatalogReads
from catalog.food import gtin_14
from catalog.models import CatalogFood, CatalogPortion, CatalogRelease
from catalog.nutrients import NAMES_100G
from catalog.search import search as find_ids
from catalog.serializers import MAX_OFFSET, FoodQuery, FoodSerializer, SourceSerializer
from catalog.sources import SOURCES
from countonme.api.errors import NotFound
from countonme.api.pagination import page
from countonme.api.renderers import JSONResponse
from countonme.db.compiled import compiled_query, id_filter
from ownership.viewsets import APIViewSet

COLUMNS = (
    *("uuid", "name", "brand", "lang", "barcode", "unit", "kcal_100g", *NAMES_100G),
    *("source", "source_id", "tier", "updated_at"),
)


@extend_schema(tags=["catalog"])
class FoodViewSet(CatalogReads, APIViewSet):
    """The foods of the catalogue, the same for all devices."""

    query_class = FoodQuery
    serializer_class = FoodSerializer
    conditional_reads = ("list", "retrieve")

    @extend_schema(operation_id="searchFoods", summary="Search foods", responses={200: FoodSerializer(many=True)})
    def list(self, request) -> JSONResponse:
        """Return the foods that have all words, best match first, or the one that has the barcode.

        The last word may be incomplete, and words may have typing errors. Generic foods come first, then popular ones.
        If `barcode` is sent, `search` is ignored.
        """
        foods, headers = page(request, find, max_offset=MAX_OFFSET, **self.validate_query())
        return JSONResponse(foods, headers=headers)

    @extend_schema(operation_id="getFood", summary="Read a food")
    def retrieve(self, request, pk) -> JSONResponse:
        """Return a food, also if its source no longer has it."""
        foods = load([str(pk)])
        if not foods:
            raise NotFound("Food not found")
        return JSONResponse(foods[0])


@extend_schema(tags=["catalog"])
class SourcesView(CatalogReads, APIView):
    conditional_reads = ("get",)

    @extend_schema(
        operation_id="listFoodSources", summary="List the sources", responses={200: SourceSerializer(many=True)}
    )
    def get(self, request) -> JSONResponse:
        """Return where the foods come from. An app must show the attribution of each source that it shows foods of."""
        return JSONResponse([source for name in SOURCES for source in describe(name)])


def describe(name: str) -> list[dict]:
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
        ids = [str(food_id) for (food_id,) in foods_by_barcode.json_tuples(gtin=gtin_14(barcode) or "", limit=1)]
    else:
        ids = find_ids(search, lang, offset + limit)
    return load(ids[offset:])


def load(ids: list[str]) -> list[dict]:
    """Return the foods in the order of their ids, as clients read them. Takes two queries."""
    if not ids:
        return []
    foods = {row["uuid"]: represent(row) for row in foods_by_id.json(**id_filter("uuid", ids))}
    for portion in portions_by_food.json(**id_filter("food__uuid", ids)):
        portions = foods[portion["food__uuid"]]["portions"]
        portions.append({"name": portion["name"], "grams": portion["grams"], "is_default": not portions})
    return [foods[food_id] for food_id in ids if food_id in foods]


def represent(row: dict) -> dict:
    source = SOURCES[row["source"]]
    return {
        "id": row["uuid"],
        "name": row["name"],
        "brand": row["brand"],
        "lang": row["lang"],
        "barcode": row["barcode"],
        "unit": row["unit"],
        "kcal_100g": row["kcal_100g"],
        **{name: row[name] for name in NAMES_100G},
        "portions": [],
        "source": source.name,
        "source_id": row["source_id"],
        "source_url": source.url_of(row["source_id"]),
        "license": source.license,
        "attribution": source.attribution,
        "withdrawn": row["tier"] is None,
        "updated_at": row["updated_at"],
    }


@compiled_query
def foods_by_id(**foods) -> QuerySet:
    return CatalogFood.objects.filter(**foods).order_by("uuid").values(*COLUMNS)


@compiled_query
def portions_by_food(**of_foods) -> QuerySet:
    portions = CatalogPortion.objects.filter(**of_foods).order_by("food__uuid", "position")
    return portions.values("food__uuid", "name", "grams")


@compiled_query
def foods_by_barcode(gtin) -> QuerySet:
    return CatalogFood.objects.filter(barcode=gtin, tier__isnull=False).order_by("uuid").values_list("uuid")


@compiled_query
def finished_releases(source) -> QuerySet:
    releases = CatalogRelease.objects.filter(source=source, finished_at__isnull=False)
    return releases.order_by("-pk").values_list("id", "foods", "finished_at")
