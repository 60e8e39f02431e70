"""What the database itself refuses, whoever writes."""

from decimal import Decimal

import pytest
from django.db import IntegrityError, connection, transaction

from devices.owned import change_set
from food_entries.models import FoodEntry
from food_entries.tests.factories import FoodEntryFactory

OUT_OF_BOUNDS = [
    ("product_name", "", "foodentry_product_name_not_empty"),
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
        for nutrient in ("protein_100g", "carbs_100g", "fat_100g")
        for value in ("-0.01", "100.01")
    ],
    ("portion", None, "food_entry_quantity_is_of_a_portion"),
    *[("meal_type", meal, "food_entry_is_of_a_meal") for meal in ("", "brunch", "LUNCH")],
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
    "kcal_100g",
    "kcal",
)


class TestTheDatabase:
    @pytest.mark.parametrize(("field", "value", "constraint"), OUT_OF_BOUNDS)
    def test_refuses_a_value_out_of_bounds(self, device, by_portion, everything, field, value, constraint):
        before = everything()

        with pytest.raises(IntegrityError, match=constraint), transaction.atomic(), change_set(device):
            device.food_entries.update(**{field: value})

        assert everything() == before

    @pytest.mark.parametrize("field", NOT_NULL)
    def test_refuses_a_row_without(self, device, by_portion, everything, field):
        before = everything()

        with pytest.raises(IntegrityError, match=r"(?i)not.null"), transaction.atomic(), change_set(device):
            device.food_entries.update(**{field: None})

        assert everything() == before

    def test_refuses_an_id_twice(self, by_weight, everything):
        before = everything()

        with pytest.raises(IntegrityError, match=r"_pkey|UNIQUE constraint failed: \w+\.id"), transaction.atomic():
            FoodEntryFactory(id=by_weight.pk, product=by_weight.product)

        assert everything() == before

    def test_refuses_to_lose_the_portion_of_an_entry(self, by_portion, everything):
        before = everything()
        row_id = FoodEntry._meta.get_field("portion").get_db_prep_value(by_portion.portion_id, connection)

        with pytest.raises(IntegrityError, match="portion"), transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute("DELETE FROM portions WHERE id = %s", [row_id])
            connection.check_constraints()

        assert everything() == before

    def test_takes_what_the_bounds_include(self, device, by_portion):
        least = {"grams": Decimal("0.01"), "quantity": Decimal("0.01"), "kcal_100g": 0, "protein_100g": 0}
        most = {"grams": Decimal(100_000), "quantity": Decimal(1000), "kcal_100g": 1000, "protein_100g": 100}

        for values in (least, most, {"quantity": None}, {"portion": None}, {"protein_100g": None}):
            with change_set(device):
                assert device.food_entries.update(**values) == 1

        by_portion.refresh_from_db()
        assert (by_portion.grams, by_portion.kcal_100g, by_portion.portion_id) == (Decimal(100_000), 1000, None)


class TestEveryConstraint:
    def test_is_shown_to_refuse(self):
        """Fails for a new constraint until a row above breaks it."""
        assert {rule.name for rule in FoodEntry._meta.constraints} == {constraint for *_, constraint in OUT_OF_BOUNDS}


class TestAWrite:
    def test_is_refused_outside_a_change_set(self, device, by_weight, everything):
        before = everything()

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

        assert everything() == before
