from datetime import date
from decimal import Decimal

from django.db import models
from django.db.models import Count, F, Func, Q, Sum
from django.db.models.functions import Abs
from django.db.models.lookups import LessThan

from countonme.api.fields import HUNDREDTH
from countonme.db.compiled import compiled_query
from countonme.db.constraints import bounds, within
from countonme.db.fields import DayField, NameField, with_fields
from devices.models import Device
from nutrition.amounts import MEALS, totals
from nutrition.fields import NAME_LENGTH, label_constraints, nutrient_field, unit_field
from nutrition.nutrients import NAMES, NAMES_100G, NUTRIENTS, PER_100G
from ownership.models import DeviceOwned, LiveManager, OwnedQuerySet
from products.models import Portion, Product

GRAMS = (HUNDREDTH, 100_000)
QUANTITY = (HUNDREDTH, 1000)
MEAL_LENGTH = (1, 30)
# A portion weighs 0.01 to 10,000 g, with 2 decimal places. In an entry from before this column, it is grams ÷ quantity:
# at least 0.01 ÷ 1000, and at most 100,000 ÷ 0.01. With 6 places, times the quantity, it rounds to the grams again.
PORTION_GRAMS = (Decimal("0.00001"), 10_000_000)
TIME_LENGTH = (12, 12)  # "HH:MM:SS.mmm"
STORED_DAYS = (date.min, date.max)  # the range of Python's `date`; PostgreSQL has a larger one


def total_field(**kwargs) -> models.DecimalField:
    """Return a model field for a total of the entry: kcal, or grams of a nutrient. Null if the product has no value."""
    return models.DecimalField(max_digits=9, decimal_places=2, editable=False, **kwargs)


def total_constraints() -> list[models.CheckConstraint]:
    """Return a constraint for each total.

    The total of a new nutrient does not have to follow from the weight: the previous release changes the weight, and
    leaves such a total. It is corrected when the entry is changed again.
    """
    new = {nutrient.name for nutrient in NUTRIENTS if nutrient.is_new}
    return [
        models.CheckConstraint(condition=is_known_with(total, per_100g), name=f"foodentry_total_of_{total}_is_known")
        if total in new
        else models.CheckConstraint(
            condition=total_is_correct(total, per_100g), name=f"foodentry_total_of_{total}_follows"
        )
        for total, per_100g in PER_100G.items()
    ]


def is_known_with(total: str, per_100g: str) -> Q:
    """Return the condition that both are null or none is."""
    return Q(**{total: None, per_100g: None}) | Q(**{f"{total}__isnull": False, f"{per_100g}__isnull": False})


def total_is_correct(total: str, per_100g: str) -> Q:
    """Return the condition that a total is `amount_in()` of its value per 100 g. A half may be rounded up or down."""
    known = Q(**{f"{total}__isnull": False, f"{per_100g}__isnull": False})
    # Multiply the total, don't divide the other side: SQLite divides integers without a remainder.
    difference = Abs(F(total) * 100 - F(per_100g) * F("grams"))
    # 51, not 50: SQLite calculates with inexact floats.
    return Q(**{total: None, per_100g: None}) | (known & Q(LessThan(difference * 100, 51)))


class Unconverted:
    """Mixin for aggregates that need no conversion, because the database driver returns the right type.

    With Django's converters, "a 30-day summary" (`make bench`) takes a tenth more CPU.
    """

    def get_db_converters(self, connection) -> list:
        return []


class Entries(Unconverted, Count):
    """The number of entries."""

    def __init__(self):
        super().__init__("*")


class Unknown(Unconverted, Func):
    """The nutrients that some entry does not know, as one number: 1 for the first one, 2 for the second, 4 and so on.

    With a count for each nutrient, "a day's summary" (`make bench`) takes a tenth more CPU.
    """

    output_field = models.IntegerField()

    def __init__(self):
        super().__init__(*map(Count, NAMES))

    def as_sql(self, compiler, connection, **context) -> tuple[str, list]:
        counts = [compiler.compile(count)[0] for count in self.get_source_expressions()]
        bits = (f"CASE WHEN {count} < COUNT(*) THEN {1 << place} ELSE 0 END" for place, count in enumerate(counts))
        return " + ".join(bits), []


class ExactSum(Unconverted, Sum):
    """A sum of amounts. An unknown amount counts as 0.

    On SQLite, which adds floats, it adds whole hundredths, so that the result is exact.
    """

    template = "COALESCE(SUM(%(expressions)s), 0.0)"

    def as_sqlite(self, compiler, connection, **context) -> tuple[str, list]:
        template = "COALESCE(SUM(ROUND(%(expressions)s * 100)) / 100, 0.0)"
        return self.as_sql(compiler, connection, template=template, **context)


class FoodEntryQuerySet(OwnedQuerySet):
    def newest_day_first(self):
        """Sort by day, and within a day by time. Entries without a time come last, in the order of creation.

        The index by day and meal serves the order of the days. A day's entries are few, so sorting them is fast.
        """
        return self.order_by("-date", F("time").asc(nulls_last=True), "created_at", "id")

    def sums(self):
        """Return a tuple for each day and meal, in the form that `nutrition.amounts.days()` expects."""
        sums = {f"sum_of_{total}": ExactSum(total) for total in PER_100G}
        by_meal = self.order_by("date", "meal_type").values_list("date", "meal_type")
        return by_meal.annotate(unknown=Unknown(), entries=Entries(), **sums)


def with_portion_snapshot(values: dict) -> dict:
    """Return the values with the columns that an entry copies from its portion instead of `portion`, if they have it.

    These are its id, and its current name and weight. They are null if there is no portion.
    """
    if "portion" not in values:
        return values
    portion, others = values["portion"], {name: value for name, value in values.items() if name != "portion"}
    if portion is None:
        return others | {"portion_id": None, "portion_name": None, "portion_grams": None}
    return others | {"portion_id": portion.pk, "portion_name": portion.name, "portion_grams": portion.grams}


def product_snapshot(product: Product) -> dict:
    """Return the columns that an entry copies from a product: its id, and its current name and values."""
    values = {name: getattr(product, name) for name in ("unit", *PER_100G.values())}
    return {"product_id": product.pk, "product_name": product.name, **values}


def meal_name(text: str) -> str:
    """Return the name of a meal as it is stored: the usual ones in lower case, all others as they are."""
    return text.lower() if text.lower() in MEALS else text


CopiedNutrients = with_fields({name: nutrient_field(editable=False) for name in NAMES_100G})
TotalsOfNutrients = with_fields({name: total_field(null=True) for name in NAMES})


class FoodEntry(DeviceOwned, CopiedNutrients, TotalsOfNutrients):
    """Something that was eaten: a product, a weight, a day and a meal.

    An entry has a copy of the product's name and values, and of the portion's name and weight, so that later changes of
    the product or the portion don't change past days. `grams` is the weight of the whole entry.
    """

    quota_setting = "MAX_FOOD_ENTRIES"

    product = models.ForeignKey(Product, on_delete=models.PROTECT, db_index=False)
    portion = models.ForeignKey(Portion, on_delete=models.PROTECT, null=True, blank=True, db_index=False)
    quantity = models.DecimalField(
        max_digits=6,
        decimal_places=2,
        null=True,
        blank=True,
        validators=bounds(QUANTITY),
        help_text="Number of portions. Empty without a portion.",
    )
    grams = models.DecimalField(
        max_digits=8, decimal_places=2, validators=bounds(GRAMS), help_text="Weight of the whole entry."
    )
    date = DayField(help_text="The client's calendar day.")
    time = models.CharField(  # noqa: DJ001 - null means that it is not known
        max_length=TIME_LENGTH[1], null=True, blank=True, help_text="The client's local time, as HH:MM:SS.mmm."
    )
    meal_type = NameField(max_length=MEAL_LENGTH[1], default="snacks")

    product_name = NameField(max_length=NAME_LENGTH[1], editable=False)
    portion_name = NameField(max_length=NAME_LENGTH[1], null=True, editable=False)
    portion_grams = models.DecimalField(max_digits=14, decimal_places=6, null=True, editable=False)
    unit = unit_field(editable=False)
    kcal_100g = models.IntegerField(editable=False)
    kcal = total_field()

    objects = LiveManager.from_queryset(FoodEntryQuerySet)()
    all_objects = models.Manager.from_queryset(FoodEntryQuerySet)()

    class Meta(DeviceOwned.Meta):
        db_table = "food_entries"
        default_related_name = "food_entries"
        verbose_name = "food entry"
        verbose_name_plural = "food entries"
        indexes = [
            *DeviceOwned.Meta.indexes,
            models.Index(
                fields=["device", "date", "meal_type"], condition=Q(deleted_at=None), name="food_entry_by_day_and_meal"
            ),
        ]
        constraints = [
            *DeviceOwned.Meta.constraints,
            within("product_name__length", NAME_LENGTH),
            within("meal_type__length", MEAL_LENGTH),
            within("time__length", TIME_LENGTH),
            within("portion_name__length", NAME_LENGTH),
            within("portion_grams", PORTION_GRAMS),
            # Nothing ties them to `portion`, because the previous release writes that column and not these.
            models.CheckConstraint(
                condition=Q(portion_name=None, portion_grams=None)
                | Q(portion_name__isnull=False, portion_grams__isnull=False),
                name="food_entry_portion_has_name_and_weight",
            ),
            within("grams", GRAMS),
            within("quantity", QUANTITY),
            *label_constraints(),
            within("date", STORED_DAYS),
            *total_constraints(),
            models.CheckConstraint(
                condition=Q(quantity=None) | Q(portion__isnull=False), name="food_entry_quantity_is_of_a_portion"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.product_name}, {self.grams} {self.unit}"

    @classmethod
    def draft(cls, device: Device, *, product: Product, **values) -> "FoodEntry":
        """Return an unsaved entry of `grams` of the product, with its and the portion's current name and values."""
        copied = product_snapshot(product)
        return cls.new(
            device_id=device.pk, **with_portion_snapshot(values), **copied, **totals(values["grams"], copied)
        )

    def assign(self, *, product: Product | None = None, **values) -> bool:
        """Assign the values that changed, and the totals derived from them. Return whether anything changed.

        If a product or a portion is given, its current name and values are copied. Otherwise those of the entry stay.
        """
        values = with_portion_snapshot(values)
        if product is not None:
            values |= product_snapshot(product)
        new = {name: values.get(name, getattr(self, name)) for name in ("grams", *PER_100G.values())}
        return super().assign(**values, **totals(new["grams"], new))


@compiled_query
def daily_sums(device, first, last) -> models.QuerySet:
    return FoodEntry.objects.for_device(device).filter(date__gte=first, date__lte=last).sums()
