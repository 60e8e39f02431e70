from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from html import unescape

import pytest
from django.utils import timezone

from food_entries.chart import latest_day
from food_entries.models import FoodEntry
from food_entries.tests.factories import FoodEntryFactory
from ownership.models import change_set
from products.tests.factories import PortionFactory, ProductFactory
from support.tests import entries
from tests.harness.sync import pull_changes


@pytest.fixture
def entry(device) -> FoodEntry:
    return FoodEntryFactory(device=device)


@pytest.fixture
def entry_by_portion(entry) -> FoodEntry:
    """Two slices of 40 g."""
    portion = PortionFactory(product=entry.product)
    return FoodEntryFactory(product=entry.product, portion=portion, quantity=Decimal(2), grams=Decimal(80))


def page(entry, act: str = "change") -> str:
    return f"/admin/food_entries/foodentry/{entry.pk}/{act}/"


def sent(entry, **changed) -> dict:
    values = {name: getattr(entry, name) for name in ("date", "time", "meal_type", "grams", "quantity")}
    values |= {"seen": FoodEntry.all_objects.get(pk=entry.pk).revision, "reason": "A typo.", **changed}
    return {name: "" if value is None else value for name, value in values.items()}


def delete(row) -> None:
    with change_set(row.device):
        row.soft_delete()


class TestAnEntry:
    def test_is_deleted_and_restored_on_the_phone(self, support, api, entry):
        before = pull_changes(api)["timestamp"]
        support.post(page(entry, "soft-delete"), sent(entry))
        between = pull_changes(api, before)
        support.post(page(entry, "restore"), sent(entry))
        after = pull_changes(api, between["timestamp"])

        assert between["changes"]["food_entries"]["deleted"] == [str(entry.pk)]
        assert [row["id"] for row in after["changes"]["food_entries"]["updated"]] == [str(entry.pk)]
        assert after["changes"]["food_entries"]["deleted"] == []
        assert entries.recorded_changes() == ["Deleted. A typo.", "Restored. A typo."]

    def test_can_be_corrected(self, support, api, entry):
        cursor = pull_changes(api)["timestamp"]

        support.post(page(entry), sent(entry, date="2026-01-06", meal_type="lunch"))

        (row,) = pull_changes(api, cursor)["changes"]["food_entries"]["updated"]
        assert (row["date"], row["meal_type"], row["grams"], row["kcal"]) == ("2026-01-06", "lunch", 200, 500)
        assert entries.recorded_changes() == ["Corrected date, meal. A typo."]

    @pytest.mark.parametrize("date", ["05/02/2026", "05.02.2026", "5 Feb 2026", "05/02/26"])
    def test_is_not_corrected_with_a_date_that_is_not_iso(self, support, entry, date):
        response = support.post(page(entry), sent(entry, date=date))

        assert response.status_code == 200
        assert "Enter a valid date in the form YYYY-MM-DD, for example 2026-02-05." in response.text
        assert entries.recorded_changes() == []

    @pytest.mark.parametrize(("meal", "stored"), [("DINNER", "dinner"), (" Tea ", "Tea")])
    def test_gets_the_meal_as_the_api_stores_it(self, support, entry, meal, stored):
        support.post(page(entry), sent(entry, meal_type=meal))

        entry.refresh_from_db()
        assert entry.meal_type == stored

    @pytest.mark.parametrize(("time", "stored"), [("19:30", "19:30:00.000"), ("07:00:00.123", "07:00:00.123")])
    def test_gets_another_time_or_none(self, support, entry, time, stored):
        support.post(page(entry), sent(entry, time=time))
        entry.refresh_from_db()
        assert entry.time == stored

        support.post(page(entry), sent(entry, time=""))
        entry.refresh_from_db()
        assert entry.time is None

    def test_gets_new_totals_with_new_grams(self, support, entry):
        support.post(page(entry), sent(entry, grams="50"))

        entry.refresh_from_db()
        assert (entry.grams, entry.kcal, entry.protein, entry.fat) == (50, 125, 5.25, None)

    def test_gets_new_grams_with_a_new_quantity(self, support, entry_by_portion):
        support.post(page(entry_by_portion), sent(entry_by_portion, quantity="3"))

        entry_by_portion.refresh_from_db()
        assert (entry_by_portion.quantity, entry_by_portion.grams, entry_by_portion.kcal) == (3, 120, 300)
        assert entry_by_portion.portion_id is not None

    def test_loses_its_portion_with_new_grams(self, support, entry_by_portion):
        support.post(page(entry_by_portion), sent(entry_by_portion, grams="90"))

        entry_by_portion.refresh_from_db()
        assert (entry_by_portion.portion_id, entry_by_portion.quantity, entry_by_portion.grams) == (None, None, 90)

    @pytest.mark.parametrize(
        ("changed", "error"),
        [
            ({"grams": "50", "quantity": "3"}, "Not allowed together with `portion_id`; send `quantity`."),
            ({"quantity": ""}, "This field may not be null."),
            ({"quantity": "0"}, "The total weight must be between 0.01 and 100000 g."),
            ({"quantity": "1001"}, "Ensure this value is less than or equal to 1000."),
            ({"quantity": "x"}, "Enter a number."),
            ({"grams": ""}, "This field is required."),
            ({"grams": "100001"}, "Ensure this value is less than or equal to 100000."),
            ({"grams": "1.001"}, "Ensure that there are no more than 2 decimal places."),
            ({"grams": "NaN"}, "Enter a number."),
            ({"time": "7 pm"}, "A time has the form HH:MM."),
            ({"date": "2026-02-30"}, "Enter a valid date in the form YYYY-MM-DD"),
            ({"meal_type": "x" * 31}, "Ensure this value has at most 30 characters"),
            ({}, "there is nothing to save"),
        ],
        ids=str,
    )
    def test_is_validated(self, support, entry_by_portion, all_rows, changed, error):
        before = all_rows()

        response = support.post(page(entry_by_portion), sent(entry_by_portion, **changed))

        assert response.status_code == 200
        assert error in unescape(response.content.decode())
        assert all_rows() == before

    def test_has_no_quantity_without_a_portion(self, support, entry):
        response = support.post(page(entry), sent(entry, quantity="2"))

        assert "Not allowed without a portion." in response.content.decode()

    def test_can_be_corrected_after_its_product_was_deleted(self, support, entry):
        delete(entry.product)

        support.post(page(entry), sent(entry, meal_type="dinner"))

        entry.refresh_from_db()
        assert entry.meal_type == "dinner"


class TestTheListOfADevice:
    @pytest.mark.parametrize(
        ("text", "found"),
        [
            ("maslo", ["Masło", "Masło klarowane"]),
            ("KLAROWANE  masło", ["Masło klarowane"]),
            ("reese's", ["Reese’s"]),
            ("%", []),
            ("maslo reese", []),
            ("\u0301", []),
        ],
    )
    def test_is_searched_as_products_are(self, support, device, other_device, text, found):
        for name in ["Masło", "Masło klarowane", "Reese’s"]:
            FoodEntryFactory(product=ProductFactory(device=device, name=name))
            FoodEntryFactory(product=ProductFactory(device=other_device, name=name))

        response = support.get("/admin/food_entries/foodentry/", {"device__id__exact": device.pk, "q": text})

        assert sorted(entry.product_name for entry in response.context["cl"].result_list) == found

    @pytest.fixture
    def years(self, device) -> list[FoodEntry]:
        days = [date(2025, 12, 31), date(2026, 1, 5), date(9999, 12, 31)]
        return [FoodEntryFactory(device=device, date=day) for day in days]

    @pytest.mark.parametrize(
        ("day", "found"),
        [
            ({"date__year": "2025"}, [0]),
            ({"date__year": "2026", "date__month": "1"}, [1]),
            ({"date__year": "2026", "date__month": "1", "date__day": "5"}, [1]),
            ({"date__year": "2026", "date__month": "1", "date__day": "6"}, []),
            ({"date__year": "9999", "date__month": "11"}, []),
            ({}, [0, 1, 2]),
        ],
        ids=str,
    )
    def test_can_be_filtered_by_day(self, support, device, years, day, found):
        page = support.get("/admin/food_entries/foodentry/", {"device__id__exact": device.pk, **day}).content.decode()

        assert [position for position, entry in enumerate(years) if str(entry.pk) in page] == found

    @pytest.mark.parametrize(
        "day",
        [
            {"date__year": "9999"},
            {"date__year": "9999", "date__month": "12"},
            {"date__year": "9999", "date__month": "12", "date__day": "31"},
            {"date__year": "0"},
            {"date__year": "x"},
            {"date__year": "2026", "date__month": "13"},
            {"date__month": "x"},
        ],
        ids=str,
    )
    def test_redirects_from_a_day_that_it_can_not_show(self, support, device, years, day):
        response = support.get("/admin/food_entries/foodentry/", {"device__id__exact": device.pk, **day}, follow=True)

        assert response.status_code == 200


class TestTheChart:
    def test_has_a_bar_for_each_of_the_last_30_days(self, support, device):
        last = latest_day(timezone.now())
        product = ProductFactory(device=device, kcal_100g=250)
        for ago, grams in ((0, 100), (0, 300), (29, 200), (30, 900), (-1, 900)):
            FoodEntryFactory(product=product, grams=Decimal(grams), date=last - timedelta(days=ago))
        delete(FoodEntryFactory(product=product, grams=Decimal(900), date=last))

        page = support.get(f"/admin/devices/device/{device.pk}/change/").content.decode()

        assert page.count("<title>") == 31  # one of the page, and one of each bar
        assert f"<title>{last}: 1,000 kcal, 2 entries</title>" in page
        assert f"<title>{last - timedelta(days=29)}: 500 kcal, 1 entries</title>" in page
        assert f"<title>{last - timedelta(days=1)}: no entries</title>" in page
        assert page.count('y="0" width="16" height="120"/></g>') == 1
        assert page.count('y="60" width="16" height="60"/></g>') == 1
        assert "2 of 30 days have entries. Maximum: 1,000 kcal." in page

    def test_is_a_text_if_there_are_no_entries(self, support, device, other_device):
        FoodEntryFactory(device=other_device, date=latest_day(timezone.now()))

        page = support.get(f"/admin/devices/device/{device.pk}/change/").content.decode()

        assert "No entries from" in page
        assert "kcal" not in page

    def test_can_show_days_with_0_kcal(self, support, device):
        product = ProductFactory(device=device, kcal_100g=0)
        FoodEntryFactory(product=product, date=latest_day(timezone.now()))

        page = support.get(f"/admin/devices/device/{device.pk}/change/").content.decode()

        assert "1 of 30 days have entries. Maximum: 0 kcal." in page

    @pytest.mark.parametrize(("hour", "day"), [(9, "2026-01-05"), (10, "2026-01-06")])
    def test_ends_with_the_latest_day_of_any_time_zone(self, hour, day):
        assert str(latest_day(datetime(2026, 1, 5, hour, 0, tzinfo=UTC))) == day
