"""Constraints of the database, tested without serializers and forms."""

from datetime import date
from decimal import Decimal

import pytest
from django.db import DataError, IntegrityError, connection, transaction

from food_entries.models import FoodEntry
from food_entries.tests.factories import FoodEntryFactory
from nutrition.amounts import totals
from ownership.models import change_set

CENT = Decimal("0.01")
TOTALS = {"kcal": Decimal("183.89"), "protein": Decimal("6.04"), "carbs": Decimal("34.29"), "fat": Decimal("2.34")}

NEW_TOTALS = ("sugars", "saturated_fat", "fiber", "salt")

OUT_OF_BOUNDS = [
    ("revision", 1, "foodentry_revision_from_2"),
    ("product_name", "", "foodentry_product_name__length_within_bounds"),
    ("product_name", "x" * 101, r"foodentry_product_name__length_within_bounds|too long for type character varying"),
    ("grams", Decimal(0), "foodentry_grams_within_bounds"),
    ("grams", Decimal("-0.01"), "foodentry_grams_within_bounds"),
    ("grams", Decimal("100000.01"), "foodentry_grams_within_bounds"),
    ("quantity", Decimal(0), "foodentry_quantity_within_bounds"),
    ("quantity", Decimal("-0.01"), "foodentry_quantity_within_bounds"),
    ("quantity", Decimal("1000.01"), "foodentry_quantity_within_bounds"),
    ("kcal_100g", -1, "foodentry_kcal_100g_within_bounds"),
    ("kcal_100g", 1001, "foodentry_kcal_100g_within_bounds"),
    *[
        (nutrient, Decimal(value), f"foodentry_{nutrient}_within_bounds")
        for nutrient in ("protein_100g", "carbs_100g", "fat_100g", *(f"{name}_100g" for name in NEW_TOTALS))
        for value in ("-0.01", "100.01")
    ],
    *[
        (total, value, f"foodentry_total_of_{total}_follows")
        for total, stored in TOTALS.items()
        for value in (stored - 2 * CENT, stored + CENT, Decimal(0), None)
        if (total, value) != ("kcal", None)
    ],
    *[
        (column, None, f"foodentry_total_of_{name}_is_known")
        for name in NEW_TOTALS
        for column in (name, f"{name}_100g")
    ],
    ("unit", "kg", "foodentry_unit_is_known"),
    ("portion", None, "food_entry_quantity_is_of_a_portion"),
    ("portion_name", "", "foodentry_portion_name__length_within_bounds"),
    ("portion_name", "x" * 101, r"foodentry_portion_name__length_within_bounds|too long for type character varying"),
    ("portion_grams", Decimal("0.000009"), "foodentry_portion_grams_within_bounds"),
    ("portion_grams", Decimal("10000000.000001"), "foodentry_portion_grams_within_bounds"),
    ("portion_name", None, "food_entry_portion_has_name_and_weight"),
    ("portion_grams", None, "food_entry_portion_has_name_and_weight"),
    ("time", "07:30", "foodentry_time__length_within_bounds"),
    ("time", "07:30:00.0000", r"foodentry_time__length_within_bounds|too long for type character varying"),
    ("meal_type", "", "foodentry_meal_type__length_within_bounds"),
    ("meal_type", "x" * 31, r"foodentry_meal_type__length_within_bounds|too long for type character varying"),
]
NOT_NULL = (
    "device",
    "product",
    "revision",
    "created_at",
    "grams",
    "date",
    "meal_type",
    "product_name",
    "unit",
    "kcal_100g",
    "kcal",
)


class TestTheDatabase:
    @pytest.mark.parametrize(("field", "value", "constraint"), OUT_OF_BOUNDS)
    def test_refuses_a_value_out_of_bounds(self, device, by_portion, all_rows, field, value, constraint):
        before = all_rows()

        with pytest.raises((IntegrityError, DataError), match=constraint), transaction.atomic(), change_set(device):
            device.food_entries.update(**{field: value})

        assert all_rows() == before

    @pytest.mark.parametrize("field", NOT_NULL)
    def test_refuses_null(self, device, by_portion, all_rows, field):
        before = all_rows()

        with pytest.raises(IntegrityError, match=r"(?i)not.null"), transaction.atomic(), change_set(device):
            device.food_entries.update(**{field: None})

        assert all_rows() == before

    def test_refuses_a_duplicate_id(self, by_weight, all_rows):
        before = all_rows()

        with pytest.raises(IntegrityError, match=r"_pkey|UNIQUE constraint failed: \w+\.id"), transaction.atomic():
            FoodEntryFactory(id=by_weight.pk, product=by_weight.product)

        assert all_rows() == before

    def test_refuses_the_id_of_another_devices_row(self, rye, other_device):
        taken = FoodEntryFactory(device=other_device)

        with pytest.raises(IntegrityError), transaction.atomic():
            FoodEntryFactory(id=taken.pk, product=rye)

        taken.refresh_from_db()
        assert taken.device_id == other_device.pk

    def test_refuses_to_delete_a_portion_that_has_entries(self, by_portion, all_rows):
        before = all_rows()
        row_id = FoodEntry._meta.get_field("portion").get_db_prep_value(by_portion.portion_id, connection)

        with pytest.raises(IntegrityError, match="portion"), transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute("DELETE FROM portions WHERE id = %s", [row_id])
            connection.check_constraints()

        assert all_rows() == before

    @pytest.mark.parametrize(
        "day",
        ["infinity", *[pytest.param(day, marks=pytest.mark.postgres) for day in ("0001-01-01 BC", "10000-01-01")]],
    )
    def test_refuses_a_day_that_python_can_not_represent(self, device, by_weight, all_rows, day):
        before = all_rows()

        with (
            pytest.raises(IntegrityError, match="foodentry_date_within_bounds"),
            transaction.atomic(),
            connection.cursor() as cursor,
        ):
            cursor.execute("UPDATE food_entries SET date = %s", [day])

        assert all_rows() == before

    def test_accepts_the_bounds_themselves(self, device, by_portion):
        nutrients = ("protein", "carbs", "fat", *NEW_TOTALS)
        per_100g = {"kcal_100g": (0, 1000), **{f"{name}_100g": (0, 100) for name in nutrients}}
        least, most = ({name: bounds[end] for name, bounds in per_100g.items()} for end in (0, 1))
        unknown = {"protein_100g": None, "protein": None, "quantity": None, "portion": None}

        for values in (
            {"grams": CENT, "quantity": CENT, "date": date.min, **least, **totals(CENT, least)},
            {"grams": Decimal(100_000), "quantity": Decimal(1000), **most, **totals(Decimal(100_000), most)},
            {"product_name": "ß" * 100, "date": date.max, **unknown},
        ):
            with change_set(device):
                assert device.food_entries.update(**values) == 1

        by_portion.refresh_from_db()
        assert (by_portion.grams, by_portion.kcal, by_portion.portion_id) == (Decimal(100_000), 1_000_000, None)

    @pytest.mark.parametrize(
        "written",
        [
            {"portion_name": None, "portion_grams": None},
            {"portion": None, "quantity": None},
            {"grams": Decimal(100), **dict(zip(TOTALS, map(Decimal, ("259", "8.5", "48.3", "3.3")), strict=True))},
        ],
        ids=["new entry", "dropped portion", "new weight"],
    )
    def test_accepts_what_the_previous_release_writes(self, device, by_portion, written):
        """It doesn't know the columns with the portion's name and weight, nor the new nutrients."""
        with change_set(device):
            assert device.food_entries.update(**written) == 1

    @pytest.mark.parametrize("per_100g", ["0.01", "8.33", "33.33", "66.67", "99.99"])
    def test_accepts_every_calculated_total(self, device, rye, per_100g):
        """Including halves, and amounts that floats represent inexactly."""
        with change_set(device):
            device.products.update(kcal_100g=333, protein_100g=per_100g, carbs_100g=per_100g, fat_100g=None)
        rye.refresh_from_db()

        for grams in ("0.01", "0.5", "1", "1.5", "50", "99.99", "150", "1234.56", "99999.99"):
            FoodEntryFactory(product=rye, grams=Decimal(grams))

        assert device.food_entries.count() == 9


class TestEveryConstraint:
    def test_has_a_test(self):
        """Fails for a new constraint until the table above has a row that breaks it."""
        shown = {constraint.partition("|")[0] for *_, constraint in OUT_OF_BOUNDS} | {"foodentry_date_within_bounds"}

        assert {rule.name for rule in FoodEntry._meta.constraints} == shown


class TestAWrite:
    def test_is_refused_outside_a_change_set(self, device, by_weight, all_rows):
        before = all_rows()

        for write in (
            lambda: by_weight.change(grams=Decimal(1)),
            lambda: by_weight.soft_delete(),
            lambda: device.food_entries.update(grams=Decimal(1)),
            lambda: FoodEntry.objects.bulk_create(
                [FoodEntry.draft(device, product=by_weight.product, grams=Decimal(1))]
            ),
        ):
            with pytest.raises(RuntimeError):
                write()

        assert all_rows() == before
