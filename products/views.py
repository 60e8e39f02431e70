from django.db.models import QuerySet
from django.utils.functional import cached_property
from drf_spectacular.utils import extend_schema, extend_schema_view

from countonme.db.compiled import compiled_query, id_filter
from nutrition.names import search_parts
from ownership.serializers import LiveRows
from ownership.viewsets import DeviceOwnedViewSet, column_values
from products.copying import fill
from products.models import Portion, Product, has_barcode
from products.serializers import PortionSerializer, ProductQuery, ProductSerializer


@extend_schema(tags=["products"])
@extend_schema_view(
    list=extend_schema(
        summary="List products", description="By name, ignoring case, accents and letters with strokes."
    ),
    create=extend_schema(
        summary="Create a product",
        description="Also creates its portions. Without `portions`, this is `100g`, which weighs 100 g. With "
        "`catalog_food_id`, all that is not sent is copied from that food of the catalogue: name, brand, values, unit, "
        "portions, and the barcode if no other product has it. Without it, `name` and `kcal_100g` are required.",
    ),
    retrieve=extend_schema(summary="Read a product"),
    update=extend_schema(summary="Change a product"),
    destroy=extend_schema(
        summary="Delete a product",
        description="Also deletes its portions. Food entries that were logged with it stay unchanged.",
    ),
    restore=extend_schema(
        summary="Restore a deleted product",
        description="Also restores the portions that were deleted with it. The next pull has them. A live product is "
        "returned unchanged.",
    ),
)
class ProductViewSet(DeviceOwnedViewSet):
    """The products of the calling device, with their portions."""

    model = Product
    serializer_class = ProductSerializer
    query_class = ProductQuery
    conflicts = ("create", "update", "restore")
    additions = ("create", "restore")  # a product whose portions were purged gets a new default portion

    def validate_query(self, *args) -> dict:
        """Return each part of a search text as a value of its own: the query is compiled once per number of parts."""
        query = dict(super().validate_query(*args))
        parts = search_parts(query.pop("search", ""))
        return query | {f"part_{number}": part for number, part in enumerate(parts)}

    @classmethod
    def filter_queryset(cls, queryset: QuerySet, *, barcode=None, favorite=None, **parts) -> QuerySet:
        if parts:
            queryset = queryset.search(parts.values())
        if favorite is not None:
            queryset = queryset.filter(is_favorite=favorite)
        if barcode is not None:
            queryset = queryset.filter(has_barcode(barcode))
        return queryset.by_name()

    def validate_new(self, data) -> dict:
        return super().validate_new(fill(self.device, data))

    def perform_create(self, **values) -> Product:
        return Product.all_objects.add(self.device, **values)

    def to_representation(self, row: Product) -> dict:
        if row.new_portions is None:
            return super().to_representation(row)
        default_first = sorted(
            row.new_portions, key=lambda portion: (not portion.is_default, portion.name_key, portion.pk)
        )
        portions = [column_values(portion, PortionViewSet.columns) for portion in default_first]
        return column_values(row, self.columns) | {"portions": portions}

    def attach_related(self, rows: list[dict]) -> list[dict]:
        """Add the portions of all products with one query.

        A product without portions was deleted between the two queries, and is left out.
        """
        by_product = {}
        for row in rows:
            row["portions"] = by_product[str(row["id"])] = []
        for portion in portions_of.json(device=self.device.pk, **id_filter("product", by_product)):
            by_product[str(portion["product_id"])].append(portion)
        return [row for row in rows if row["portions"]]


@compiled_query
def portions_of(device, **products) -> QuerySet:
    portions = Portion.objects.for_device(device).filter(**products)
    return portions.default_first().values(*PortionSerializer.Meta.fields)


@extend_schema(tags=["products"])
@extend_schema_view(
    list=extend_schema(
        summary="List the portions of a product", description="The default portion first, then by name."
    ),
    create=extend_schema(summary="Create a portion of a product"),
    retrieve=extend_schema(summary="Read a portion"),
    update=extend_schema(summary="Change a portion"),
    destroy=extend_schema(
        summary="Delete a portion",
        description="The only portion of a product can't be deleted. If the default portion is deleted, "
        "the oldest remaining portion becomes the default.",
    ),
    restore=extend_schema(
        summary="Restore a deleted portion",
        description="Its product must be live. The portion does not become the default. The next pull has it. A live "
        "portion is returned unchanged.",
    ),
)
class PortionViewSet(DeviceOwnedViewSet):
    """The portions of the calling device's products."""

    model = Portion
    serializer_class = PortionSerializer
    conflicts = ("create", "update", "destroy", "restore")

    def validate_query(self, *args) -> dict:
        return super().validate_query(*args) | {"product": self.product.pk}

    @classmethod
    def filter_queryset(cls, queryset: QuerySet, *, product) -> QuerySet:
        return queryset.filter(product=product).default_first()

    def attach_related(self, rows: list[dict]) -> list[dict]:
        """Return the portions unchanged; raise NotFound if the product was deleted between the two queries.

        Only an empty page needs the check: a live product has at least one portion.
        """
        if not rows:
            self.load_product()
        return rows

    def find_retry(self, data) -> Portion | None:
        self.product  # noqa: B018 - raises NotFound, also for a retry
        return super().find_retry(data)

    def perform_create(self, **values) -> Portion:
        return Portion.objects.add(self.product, **values)

    @cached_property
    def product(self) -> Product:
        """The product in the URL. Raises NotFound if the device has no live product with this id."""
        return self.load_product()

    def load_product(self) -> Product:
        return LiveRows(self.device).get_or_404(Product, self.kwargs["product_id"])
