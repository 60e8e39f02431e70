from uuid import UUID

from countonme.api.errors import refusal
from countonme.api.fields import TimeOfDayField
from devices.models import Device
from food_entries.models import FoodEntry
from food_entries.serializers import ENTRY, MEAL_TYPE, TIME, MealTypeField
from nutrition.nutrients import PER_100G
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
            "portion_name",
            "portion_grams",
            "product_name",
            "unit",
            *PER_100G,
        )
        extra_kwargs = {
            "quantity": {"help_text": "Number of portions."},
            "grams": {"allow_null": True, "help_text": "Weight of the whole entry. Null keeps the stored one."},
        }


@register
class FoodEntries(SyncTable):
    """Food entries. An entry copies values of its product and its portion only when it gets another one."""

    name = "food_entries"
    serializer_class = FoodEntryRow
    example_deleted = ENTRY["id"]

    def check(self, row: FoodEntry | None, values: Values, references: References) -> None:
        if row is None and values["grams"] is None:
            raise refusal("grams", "This field may not be null.", "null")

    def build(self, device: Device, row_id: UUID, values: Values, references: References) -> FoodEntry:
        values = without(values_that_fit(None, values, references), "product_id")
        return FoodEntry.draft(device, id=row_id, product=references["product_id"], **values)

    def values_to_assign(self, row: FoodEntry, values: Values, references: References) -> Values:
        values = values_that_fit(row, values, references)
        if values.get("product_id") in (None, row.product_id):
            return values
        return without(values, "product_id") | {"product": references["product_id"]}


def values_that_fit(row: FoodEntry | None, values: Values, references: References) -> Values:
    """Return the values with those columns corrected that don't fit the others.

    The client library merges column by column, so two phones can together make a row that neither of them meant. A
    portion of another product is dropped, and so is a quantity without a portion. If the grams are null, the stored
    ones stay.
    """
    portion_id, product_id = (values.get(name, getattr(row, name, None)) for name in ("portion_id", "product_id"))
    new_portion = references.get("portion_id")
    # A stored portion is one of the stored product.
    fits = portion_id is not None and product_id == (new_portion or row).product_id
    values = {name: value for name, value in values.items() if (name, value) != ("grams", None)}
    values.pop("portion_id", None)
    if not fits:
        return values | {"portion": None, "quantity": None}
    return values | {"portion": new_portion} if new_portion else values
