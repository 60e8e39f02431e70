from uuid import UUID

from countonme.api.errors import refusal
from countonme.api.fields import TimeOfDayField
from devices.models import Device
from food_entries.models import FoodEntry
from food_entries.serializers import ENTRY, MEAL_TYPE, TIME, MealTypeField, quantity_without_portion
from ownership.serializers import no_such
from products.models import Portion
from sync.registry import References, SyncTable, Values, register, without
from sync.serializers import EmptyIsNotSent, EmptyIsNull, RowIdField, RowSerializer


class TimeColumn(EmptyIsNull, TimeOfDayField):
    pass


class MealTypeColumn(EmptyIsNotSent, MealTypeField):
    pass


class FoodEntryRow(RowSerializer):
    """Something that was eaten. `grams` is the weight of the whole entry, and is not computed from the portion."""

    product_id = RowIdField()
    portion_id = RowIdField(required=False, allow_null=True)
    time = TimeColumn(required=False, allow_null=True, help_text=TIME)
    meal_type = MealTypeColumn(help_text=MEAL_TYPE)

    class Meta:
        model = FoodEntry
        fields = (
            "id",
            "product_id",
            "portion_id",
            "date",
            "time",
            "meal_type",
            "quantity",
            "grams",
            "product_name",
            "kcal",
            "protein",
            "carbs",
            "fat",
        )
        extra_kwargs = {
            "quantity": {"help_text": "Number of portions."},
            "grams": {"help_text": "Weight of the whole entry."},
        }


@register
class FoodEntries(SyncTable):
    """Food entries. An entry copies the values of its product only when it is created or gets another product."""

    name = "food_entries"
    serializer_class = FoodEntryRow
    example_deleted = ENTRY["id"]

    def check(self, row: FoodEntry | None, values: Values, references: References) -> None:
        product_id, portion_id, quantity = (
            values.get(name, getattr(row, name, None)) for name in ("product_id", "portion_id", "quantity")
        )
        if portion_id is None:
            if quantity is not None:
                raise quantity_without_portion()
            return
        # A portion that was not sent belongs to the stored product.
        if product_id != references.get("portion_id", row).product_id:
            raise refusal("portion_id", no_such(Portion), "does_not_exist")

    def build(self, device: Device, row_id: UUID, values: Values, references: References) -> FoodEntry:
        return FoodEntry.draft(device, id=row_id, product=references["product_id"], **without(values, "product_id"))

    def values_to_assign(self, row: FoodEntry, values: Values, references: References) -> Values:
        if values.get("product_id") in (None, row.product_id):
            return values
        return without(values, "product_id") | {"product": references["product_id"]}
