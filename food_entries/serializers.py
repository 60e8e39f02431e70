from decimal import Decimal

from drf_spectacular.utils import OpenApiExample, extend_schema_serializer
from rest_framework import serializers

from countonme.api.errors import refusal
from countonme.api.fields import AmountField, DayField, TextField, TimeOfDayField, round_half_up
from countonme.api.pagination import PageQuery
from countonme.db.fields import validate_name
from food_entries.models import GRAMS, MEAL_LENGTH, FoodEntry, meal_name
from nutrition.amounts import MAX_MEALS, MEALS, OTHER
from nutrition.nutrients import NAMES, PER_100G
from ownership.serializers import LiveRowField, OwnedSerializer
from products.models import Portion, Product

MAX_BATCH = 100  # entries in one request
MAX_SUMMARY_DAYS = 366
ONE = Decimal(1)
MEAL_TYPE = f"Any name. {', '.join(f'`{meal}`' for meal in MEALS)} are stored in lower case."

TIME = "The user's local time. Responses have milliseconds: `HH:MM:SS.mmm`."


class MealTypeField(TextField):
    """The name of a meal. The usual ones are stored in lower case, all others as they are sent."""

    def __init__(self, **kwargs):
        lengths = {"min_length": MEAL_LENGTH[0], "max_length": MEAL_LENGTH[1]}
        super().__init__(required=False, **lengths, validators=[validate_name], **kwargs)

    def to_internal_value(self, data) -> str:
        return meal_name(super().to_internal_value(data))


AMOUNTS = {"kcal": 183.89, "protein": 6.04, "carbs": 34.29, "fat": 2.34, "sugars": 2.77}
ENTRY = {
    "id": "c2a4e8f0-5d1b-4a7e-9c3f-8b6d0e2f4a19",
    "product_id": "7f1c2f6e-61a5-4a6a-9d55-0a3f0c5f8e10",
    "portion_id": "5b0f7c7a-0c57-4b9c-8d0a-2f5d6c3a9b21",
    "quantity": 2.0,
    "grams": 71.0,
    "date": "2026-01-05",
    "time": "07:30:00.000",
    "meal_type": "breakfast",
    "portion_name": "Slice",
    "portion_grams": 35.5,
    "product_name": "Rye bread",
    "unit": "g",
    **dict.fromkeys(NAMES),
    **AMOUNTS,
    "created_at": "2026-01-05T07:31:00.123456Z",
    "updated_at": None,
}


BY_PORTION = {name: ENTRY[name] for name in ("product_id", "portion_id", "quantity", "date", "time", "meal_type")}
BY_WEIGHT = {name: ENTRY[name] for name in ("product_id", "grams", "date")}
EXAMPLES = [
    OpenApiExample("Stored", ENTRY, response_only=True),
    OpenApiExample("By portion", BY_PORTION, request_only=True),
    OpenApiExample("By weight", BY_WEIGHT, request_only=True),
]


@extend_schema_serializer(examples=EXAMPLES)
class FoodEntrySerializer(OwnedSerializer):
    """Something that was eaten. Totals are for the whole entry, and `null` if the product has no value."""

    product_id = LiveRowField(Product, source="product")
    portion_id = LiveRowField(Portion, source="portion", required=False, allow_null=True)
    grams = AmountField(
        max_digits=8,
        decimal_places=2,
        min_value=GRAMS[0],
        max_value=GRAMS[1],
        required=False,
        allow_null=True,
        help_text="Weight of the whole entry. Required without `portion_id`, rejected with it. Part of every response.",
    )
    time = TimeOfDayField(required=False, allow_null=True, help_text=TIME)
    meal_type = MealTypeField(help_text=MEAL_TYPE)

    class Meta:
        model = FoodEntry
        fields = (
            "id",
            "product_id",
            "portion_id",
            "quantity",
            "grams",
            "date",
            "time",
            "meal_type",
            "portion_name",
            "portion_grams",
            "product_name",
            "unit",
            *PER_100G,
            "created_at",
            "updated_at",
        )
        read_only_fields = ("created_at", "updated_at")
        extra_kwargs = {"quantity": {"help_text": "Number of portions. Default: 1."}}

    def validate(self, sent: dict) -> dict:
        """Return the values to store: those sent, and the portion, quantity and grams derived from them."""
        if self.instance is None:
            return self.values_for_create(sent)
        return self.values_for_update(self.instance, {k: v for k, v in sent.items() if not self.is_unchanged(k, v)})

    def is_unchanged(self, name: str, value) -> bool:
        """Return whether a value equals the stored one. If so, it counts as not sent."""
        return name not in ("product", "portion") and getattr(self.instance, name) == value

    def values_for_create(self, sent: dict) -> dict:
        portion, quantity, grams = (sent.pop(name, None) for name in ("portion", "quantity", "grams"))
        if portion is not None:
            count = ONE if quantity is None else quantity
            return sent | self.values_by_portion(portion, sent["product"].pk, count, grams)
        if quantity is not None:
            raise quantity_without_portion()
        if grams is None:
            raise refusal("grams", "Required unless a portion is given.", "required")
        return sent | {"grams": grams}

    def values_for_update(self, entry: FoodEntry, sent: dict) -> dict:
        changed = {name: sent.pop(name) for name in ("portion", "quantity", "grams") if name in sent}
        portion, quantity, grams = (changed.get(name) for name in ("portion", "quantity", "grams"))
        if portion is not None:
            product_id = sent["product"].pk if "product" in sent else entry.product_id
            count = next(n for n in (quantity, entry.quantity, ONE) if n is not None)
            return sent | self.values_by_portion(portion, product_id, count, grams)
        keeps_portion = entry.portion_id is not None and "portion" not in changed and "product" not in sent
        if keeps_portion and quantity is not None:
            return sent | self.values_by_quantity(self.portion_grams_of(entry) * quantity, quantity, grams)
        if quantity is not None:
            raise quantity_without_portion()
        for name in changed.keys() & ({"grams", "quantity"} if keeps_portion and grams is None else {"grams"}):
            if changed[name] is None:
                raise refusal(name, "This field may not be null.", "null")
        if grams is not None:
            sent["grams"] = grams
        return sent if keeps_portion and grams is None else sent | {"portion": None, "quantity": None}

    def portion_grams_of(self, entry: FoodEntry) -> Decimal:
        """Return the weight of the portion as it was logged."""
        if entry.portion_grams is not None:
            return entry.portion_grams
        # The previous release has written the entry after the column was added.
        return entry.grams / (ONE if entry.quantity is None else entry.quantity)

    def values_by_portion(self, portion: Portion, product_id, quantity: Decimal, grams: Decimal | None) -> dict:
        if portion.product_id != product_id:
            raise refusal("portion_id", self.fields["portion_id"].not_found_message, "does_not_exist")
        return {"portion": portion} | self.values_by_quantity(portion.grams * quantity, quantity, grams)

    def values_by_quantity(self, weight: Decimal, quantity: Decimal, grams: Decimal | None) -> dict:
        if grams is not None:
            raise refusal("grams", "Not allowed together with `portion_id`; send `quantity`.", "with_portion")
        if not GRAMS[0] <= round_half_up(weight) <= GRAMS[1]:
            raise refusal(
                "quantity", f"The total weight must be between {GRAMS[0]} and {GRAMS[1]} g.", "grams_out_of_bounds"
            )
        return {"quantity": quantity, "grams": round_half_up(weight)}


def quantity_without_portion() -> serializers.ValidationError:
    """Return the error for a quantity without a portion."""
    return refusal("quantity", "Not allowed without a portion.", "without_portion")


class DaysQuery(serializers.Serializer):
    """Query parameters for a range of days: `from` and `to`, both included."""

    days_required = False

    def get_fields(self) -> dict:
        # `from` is a Python keyword, so it can't be a class attribute.
        return {
            "from": DayField(required=self.days_required, source="first", help_text="The first day, included."),
            "to": DayField(required=self.days_required, source="last", help_text="The last day, included."),
            **super().get_fields(),
        }

    def validate(self, query: dict) -> dict:
        if "first" in query and "last" in query and query["last"] < query["first"]:
            raise refusal("to", "Must not be before `from`.", "before_from")
        return query


class FoodEntryQuery(DaysQuery, PageQuery):
    date = DayField(required=False, help_text="One day. Not allowed together with `from` or `to`.")
    meal_type = MealTypeField()

    def validate(self, query: dict) -> dict:
        if "date" in query and query.keys() & {"first", "last"}:
            raise refusal("date", "Not allowed together with `from` or `to`.", "date_and_range")
        return super().validate(query)


class SummaryQuery(DaysQuery):
    days_required = True

    def validate(self, query: dict) -> dict:
        query = super().validate(query)
        if (query["last"] - query["first"]).days >= MAX_SUMMARY_DAYS:
            raise refusal("to", f"A summary covers at most {MAX_SUMMARY_DAYS} days.", "too_many_days")
        return query


@extend_schema_serializer(component_name="MealSummary")
class MealSerializer(serializers.Serializer):
    entries = serializers.IntegerField()
    kcal = serializers.FloatField()

    def get_fields(self) -> dict:
        nutrients = {
            name: serializers.FloatField(help_text="Grams. Entries that don't know it count as 0.") for name in NAMES
        }
        return {**super().get_fields(), **nutrients}


TOTALS = {"entries": 1, **dict.fromkeys(NAMES, 0.0), **AMOUNTS}
DAY = {
    "date": "2026-01-05",
    **TOTALS,
    "incomplete": [name for name in NAMES if name not in AMOUNTS],
    "meals": {"breakfast": TOTALS},
}


@extend_schema_serializer(
    component_name="DaySummary",
    examples=[OpenApiExample("A day", DAY)],
)
class DaySerializer(MealSerializer):
    date = serializers.DateField()
    incomplete = serializers.ListField(
        child=serializers.CharField(), help_text="The nutrients that some entry of the day does not know."
    )
    meals = serializers.DictField(
        child=MealSerializer(),
        help_text=f"Totals by meal. If a day has more than {MAX_MEALS} meals, the rest are summed up as `{OTHER}`.",
    )
