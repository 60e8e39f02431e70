from decimal import Decimal

import pytest
from django.core.management import call_command

from food_entries.models import FoodEntry
from food_entries.tests.factories import FoodEntryFactory
from products.models import Portion
from products.tests.factories import PortionFactory
from tests.harness.sync import pull_changes


@pytest.fixture
def rye_slice(rye) -> Portion:
    return PortionFactory(product=rye, name="Slice", grams=Decimal("35.50"))


def eat(portion: Portion, grams: str, quantity: str | None) -> FoodEntry:
    eaten = {"grams": Decimal(grams), "quantity": quantity and Decimal(quantity)}
    return FoodEntryFactory(product=portion.product, portion=portion, **eaten)


def migrate_back_and_forth() -> None:
    """Remove the columns, which leaves the rows of an earlier release, and add them again."""
    try:
        call_command("migrate", "food_entries", "0010", verbosity=0)
    finally:
        call_command("migrate", verbosity=0)


@pytest.mark.django_db(transaction=True)
class TestPortionSnapshots:
    @pytest.mark.parametrize(
        ("grams", "quantity", "expected"),
        [
            ("71", "2", "35.5"),
            ("100", "3", "33.333333"),
            ("80", None, "80"),
            ("0.01", "1000", "0.00001"),
            ("100000", "0.01", "10000000"),
            ("0.07", "0.33", "0.212121"),
        ],
    )
    def test_are_filled_for_entries_of_earlier_releases(self, rye_slice, grams, quantity, expected):
        entry = eat(rye_slice, grams, quantity)

        migrate_back_and_forth()

        entry.refresh_from_db()
        assert (entry.portion_name, entry.portion_grams) == ("Slice", Decimal(expected))
        assert (entry.portion_grams * (entry.quantity or 1)).quantize(Decimal("0.01")) == entry.grams

    def test_are_pulled_by_phones_and_change_nothing_else(self, api, other_api, other_device, rye, rye_slice):
        sliced = eat(rye_slice, "71", "2")
        for values in ({"product": rye}, {"device": other_device}):
            FoodEntryFactory(**values)
        before, others_before = pull_changes(api), pull_changes(other_api)

        migrate_back_and_forth()

        after = pull_changes(api, before["timestamp"])
        assert [row["id"] for row in after["changes"]["food_entries"]["updated"]] == [str(sliced.pk)]
        assert after["timestamp"] == before["timestamp"] + 1
        assert entries_by_id(pull_changes(api)) == entries_by_id(before)
        assert pull_changes(other_api) == others_before


def entries_by_id(pulled: dict) -> dict[str, dict]:
    """Return the pulled entries without the columns that the way back removes with their values."""
    removed = ("sugars", "saturated_fat", "fiber", "salt", "unit")
    rows = pulled["changes"]["food_entries"]["updated"]
    return {row["id"]: {name: row[name] for name in row if name not in removed} for row in rows}
