from decimal import Decimal
from html import unescape

import pytest
from django.contrib.admin.models import LogEntry

from devices.owned import change_set
from food_entries.models import FoodEntry
from food_entries.tests.factories import FoodEntryFactory
from products.tests.factories import PortionFactory
from sync.tests.phone import pulled


@pytest.fixture
def entry(device) -> FoodEntry:
    return FoodEntryFactory(device=device)


@pytest.fixture
def of_slices(entry) -> FoodEntry:
    """Two slices of 40 g."""
    portion = PortionFactory(product=entry.product)
    return FoodEntryFactory(product=entry.product, portion=portion, quantity=Decimal(2), grams=Decimal(80))


def page(entry, act: str = "change") -> str:
    return f"/admin/food_entries/foodentry/{entry.pk}/{act}/"


def sent(entry, **changed) -> dict:
    values = {name: getattr(entry, name) for name in ("date", "meal_type", "grams", "quantity")}
    values |= {"seen": FoodEntry.all_objects.get(pk=entry.pk).revision, "reason": "A typo.", **changed}
    return {name: "" if value is None else value for name, value in values.items()}


def delete(row) -> None:
    with change_set(row.device):
        row.soft_delete()


class TestAnEntry:
    def test_is_deleted_and_restored_on_the_phone(self, support, api, entry):
        before = pulled(api)["timestamp"]
        support.post(page(entry, "soft-delete"), sent(entry))
        between = pulled(api, before)
        support.post(page(entry, "restore"), sent(entry))
        after = pulled(api, between["timestamp"])

        assert between["changes"]["food_entries"]["deleted"] == [str(entry.pk)]
        assert [row["id"] for row in after["changes"]["food_entries"]["updated"]] == [str(entry.pk)]
        assert after["changes"]["food_entries"]["deleted"] == []
        assert [log.get_change_message() for log in LogEntry.objects.order_by("pk")] == [
            "Deleted. A typo.",
            "Restored. A typo.",
        ]

    def test_is_restored_though_its_product_and_portion_stay_deleted(self, support, api, of_slices):
        delete(of_slices)
        delete(of_slices.product)

        response = support.post(page(of_slices, "restore"), sent(of_slices))

        assert response.status_code == 302
        stored = api.get(f"/v1/food-entries/{of_slices.pk}").json()
        assert (stored["portion_id"], stored["grams"]) == (str(of_slices.portion_id), 80)

    def test_is_mended(self, support, api, entry):
        cursor = pulled(api)["timestamp"]

        support.post(page(entry), sent(entry, date="2026-01-06", meal_type="lunch"))

        (row,) = pulled(api, cursor)["changes"]["food_entries"]["updated"]
        assert (row["date"], row["meal_type"], row["grams"], row["kcal"]) == ("2026-01-06", "lunch", 200, 500)
        assert LogEntry.objects.get().get_change_message() == "Corrected date, meal. A typo."

    def test_is_weighed_anew_with_its_totals(self, support, entry):
        support.post(page(entry), sent(entry, grams="50"))

        entry.refresh_from_db()
        assert (entry.grams, entry.kcal, entry.protein, entry.fat) == (50, 125, 5.25, None)

    def test_is_counted_anew_with_its_grams(self, support, of_slices):
        support.post(page(of_slices), sent(of_slices, quantity="3"))

        of_slices.refresh_from_db()
        assert (of_slices.quantity, of_slices.grams, of_slices.kcal) == (3, 120, 300)
        assert of_slices.portion_id is not None

    def test_loses_its_portion_to_another_weight(self, support, of_slices):
        support.post(page(of_slices), sent(of_slices, grams="90"))

        of_slices.refresh_from_db()
        assert (of_slices.portion_id, of_slices.quantity, of_slices.grams) == (None, None, 90)

    @pytest.mark.parametrize(
        ("changed", "error"),
        [
            ({"grams": "50", "quantity": "3"}, "Not with a portion: its quantity says how much."),
            ({"quantity": ""}, "This field may not be null."),
            ({"quantity": "0"}, "That is not between 0.01 and 100000 g."),
            ({"quantity": "1001"}, "Ensure this value is less than or equal to 1000."),
            ({"quantity": "x"}, "Enter a number."),
            ({"grams": ""}, "This field is required."),
            ({"grams": "100001"}, "Ensure this value is less than or equal to 100000."),
            ({"grams": "1.001"}, "Ensure that there are no more than 2 decimal places."),
            ({"grams": "NaN"}, "Enter a number."),
            ({"date": "2026-02-30"}, "Enter a valid date."),
            ({"meal_type": "tea"}, "Select a valid choice."),
            ({}, "there is nothing to save"),
        ],
        ids=str,
    )
    def test_keeps_its_bounds(self, support, of_slices, everything, changed, error):
        before = everything()

        response = support.post(page(of_slices), sent(of_slices, **changed))

        assert response.status_code == 200
        assert error in unescape(response.content.decode())
        assert everything() == before

    def test_has_a_quantity_of_a_portion_only(self, support, entry):
        response = support.post(page(entry), sent(entry, quantity="2"))

        assert "Only with a portion." in response.content.decode()

    def test_is_mended_though_its_product_is_deleted(self, support, entry):
        delete(entry.product)

        support.post(page(entry), sent(entry, meal_type="dinner"))

        entry.refresh_from_db()
        assert entry.meal_type == "dinner"
