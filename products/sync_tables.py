from collections.abc import Iterator
from uuid import UUID

from countonme.api.fields import OneOfField, TextField
from countonme.db.fields import validate_name
from devices.models import Device
from nutrition.fields import NAME_LENGTH, UNITS
from nutrition.nutrients import NAMES_100G
from products.models import Portion, barcode_key
from products.serializers import CATALOG_FOOD, PORTION, PRODUCT, PortionSerializer, ProductSerializer
from sync.registry import References, Settled, SyncTable, Values, register, without
from sync.serializers import EmptyIsNotSent, EmptyIsNull, NewRowIdField, RowIdField, RowSerializer


class BrandColumn(EmptyIsNull, TextField):
    pass


class UnitColumn(EmptyIsNotSent, OneOfField):
    pass


class ProductRow(RowSerializer, ProductSerializer):
    """A food, with the values per 100 g from its label."""

    brand = BrandColumn(required=False, allow_null=True, max_length=NAME_LENGTH[1], validators=[validate_name])
    unit = UnitColumn(UNITS, required=False)
    catalog_food_id = NewRowIdField(required=False, allow_null=True, help_text=CATALOG_FOOD)
    portions = None

    class Meta(ProductSerializer.Meta):
        fields = (
            *("id", "name", "brand", "kcal_100g", *NAMES_100G, "unit"),
            *("barcode", "is_favorite", "catalog_food_id"),
        )


class PortionRow(RowSerializer, PortionSerializer):
    """A named amount of a product, such as a slice of 35 g."""

    product_id = RowIdField()

    class Meta(PortionSerializer.Meta):
        fields = ("id", "product_id", "name", "grams", "is_default")


@register
class Products(SyncTable):
    name = "products"
    serializer_class = ProductRow
    example = PRODUCT
    exclusive = {"barcode": None, "barcode_key": None}
    derived = {"barcode_key": ("barcode", barcode_key)}


@register
class Portions(SyncTable):
    """Portions. `settle()` chooses the default portion of each product, after all rows of a push are known."""

    name = "portions"
    serializer_class = PortionRow
    example = PORTION
    parent_column = "product_id"
    each_parent_has_one = True
    exclusive = {"is_default": False}

    def build(self, device: Device, row_id: UUID, values: Values, references: References) -> Portion:
        return super().build(device, row_id, values | {"is_default": False}, references)

    def values_to_assign(self, row: Portion, values: Values, references: References) -> Values:
        return without(values, "is_default")

    def settle(self, children: list[Portion], claims: list[Portion], **owner_ids) -> Iterator[Settled]:
        """Choose the default: the last one sent as default, else the current one, else the oldest, else a new one."""
        current = [portion for portion in children if portion.is_default]
        chosen = next(iter([*claims[-1:], *current, *children]), None) or Portion.new_default(**owner_ids)
        for portion in children or [chosen]:
            yield portion, {"is_default": portion is chosen}
