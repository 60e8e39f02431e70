from datetime import date
from decimal import Decimal

import pytest

from food_entries.models import FoodEntry
from food_entries.tests.factories import FoodEntryFactory
from products.models import Portion, Product
from products.tests.factories import PortionFactory, ProductFactory


@pytest.fixture
def rye(device) -> Product:
    """A product with all values."""
    values = {
        "kcal_100g": 259,
        "protein_100g": Decimal("8.50"),
        "carbs_100g": Decimal("48.30"),
        "fat_100g": Decimal("3.30"),
        "sugars_100g": Decimal("3.85"),
        "saturated_fat_100g": Decimal("0.63"),
        "fiber_100g": Decimal("5.80"),
        "salt_100g": Decimal("1.51"),
    }
    return ProductFactory(device=device, name="Rye bread", **values)


@pytest.fixture
def rye_slice(rye) -> Portion:
    return PortionFactory(product=rye, name="Slice", grams=Decimal("35.50"))


@pytest.fixture
def rye_loaf(rye) -> Portion:
    return PortionFactory(product=rye, name="Loaf", grams=Decimal("500.00"))


@pytest.fixture
def oats(device) -> Product:
    """A product without values for carbohydrates and sugars."""
    values = {"kcal_100g": 370, "protein_100g": Decimal("13.50"), "carbs_100g": None}
    more = {"saturated_fat_100g": Decimal("1.20"), "fiber_100g": Decimal(10), "salt_100g": Decimal("0.02")}
    return ProductFactory(device=device, name="Oats", fat_100g=Decimal("7.00"), **values, **more)


@pytest.fixture
def oats_cup(oats) -> Portion:
    return PortionFactory(product=oats, name="Cup", grams=Decimal("80.00"))


@pytest.fixture
def by_weight(rye) -> FoodEntry:
    """200 g of rye bread."""
    return FoodEntryFactory(product=rye, grams=Decimal("200.00"), date=date(2026, 1, 5), meal_type="lunch")


@pytest.fixture
def by_portion(rye, rye_slice) -> FoodEntry:
    """2 slices of rye bread, 71 g."""
    eaten = {"portion": rye_slice, "quantity": Decimal("2.00"), "grams": Decimal("71.00")}
    return FoodEntryFactory(product=rye, date=date(2026, 1, 5), meal_type="breakfast", **eaten)
