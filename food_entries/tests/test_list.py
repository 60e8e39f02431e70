from datetime import UTC, date, datetime
from urllib.parse import parse_qs, urlsplit

import pytest

from food_entries.tests.factories import FoodEntryFactory
from ownership.models import change_set
from tests.harness.errors import validation_error_body

ENTRIES = "/v1/food-entries"
SUMMARY = f"{ENTRIES}/summary?from=2026-01-01&to=2026-01-31"

# Day and meal of entries, in the order of creation.
DIARY = [
    ("2026-01-05", "breakfast"),
    ("2026-01-07", "snacks"),
    ("2026-01-05", "lunch"),
    ("2026-01-06", "lunch"),
    ("2026-01-05", "lunch"),
    ("2025-12-31", "dinner"),
    ("2026-01-06", "snacks"),
]
NEWEST_DAY_FIRST = [1, 3, 6, 0, 2, 4, 5]


@pytest.fixture
def diary(api, rye) -> list[str]:
    """The ids of the entries of `DIARY`, in the order of creation."""
    sent = [{"product_id": str(rye.pk), "grams": 71, "date": day, "meal_type": meal} for day, meal in DIARY]
    response = api.post(f"{ENTRIES}/batch", sent)
    assert response.status_code == 201
    return [row["id"] for row in response.json()]


def shown(response, diary: list[str]) -> list[int]:
    """Return the positions in the diary of the entries in the response."""
    assert response.status_code == 200
    return [diary.index(row["id"]) for row in response.json()]


def next_page(response) -> str | None:
    return response.get("Link", "").partition(">")[0].removeprefix("<http://testserver")


class TestListEntries:
    def test_returns_an_array(self, api, by_portion):
        response = api.get(ENTRIES)

        assert response.status_code == 200
        assert response.json() == [
            {
                "id": str(by_portion.pk),
                "product_id": str(by_portion.product_id),
                "portion_id": str(by_portion.portion_id),
                "quantity": 2.0,
                "grams": 71.0,
                "date": "2026-01-05",
                "time": None,
                "meal_type": "breakfast",
                "portion_name": "Slice",
                "portion_grams": 35.5,
                "product_name": "Rye bread",
                "unit": "g",
                "kcal": 183.89,
                "protein": 6.04,
                "carbs": 34.29,
                "fat": 2.34,
                "sugars": 2.73,
                "saturated_fat": 0.45,
                "fiber": 4.12,
                "salt": 1.07,
                "created_at": response.json()[0]["created_at"],
                "updated_at": None,
            }
        ]
        assert "Link" not in response

    def test_can_be_empty(self, api):
        response = api.get(ENTRIES)

        assert (response.status_code, response.json()) == (200, [])

    def test_has_the_newest_day_first_and_keeps_the_order_of_creation(self, api, diary):
        assert shown(api.get(ENTRIES), diary) == NEWEST_DAY_FIRST

    def test_keeps_the_order_when_an_entry_is_changed(self, api, diary):
        api.patch(f"{ENTRIES}/{diary[0]}", {"grams": 1})
        api.patch(f"{ENTRIES}/{diary[2]}", {"date": "2026-01-07"})

        assert shown(api.get(ENTRIES), diary) == [1, 2, 3, 6, 0, 4, 5]

    def test_sorts_a_day_by_time_and_puts_entries_without_a_time_last(self, api, rye):
        times = [None, "12:00:00.001", "23:59:59.999", None, "12:00:00.000", "00:00:00.000", "12:00:00.000"]
        rows = [FoodEntryFactory(product=rye, time=time) for time in times]
        earlier = FoodEntryFactory(product=rye, time="00:00:00.000", date=date(2026, 1, 4))

        response = api.get(ENTRIES)

        expected = [*(rows[number] for number in (5, 4, 6, 1, 2, 0, 3)), earlier]
        assert [row["id"] for row in response.json()] == [str(row.pk) for row in expected]

    def test_breaks_ties_by_id(self, api, device, rye):
        ids = [f"{first}f1c2f6e-61a5-4a6a-9d55-0a3f0c5f8e10" for first in "a05f9"]
        for row_id in ids:
            FoodEntryFactory(id=row_id, product=rye)
        with change_set(device):
            device.food_entries.update(created_at=datetime(2026, 1, 5, tzinfo=UTC))

        response = api.get(ENTRIES)

        assert [row["id"] for row in response.json()] == sorted(ids)

    @pytest.mark.parametrize(
        ("query", "expected"),
        [
            ("date=2026-01-05", [0, 2, 4]),
            ("date=2026-01-04", []),
            ("from=2026-01-06", [1, 3, 6]),
            ("from=2026-01-07", [1]),
            ("from=2026-01-08", []),
            ("to=2026-01-05", [0, 2, 4, 5]),
            ("to=2025-12-31", [5]),
            ("to=2025-12-30", []),
            ("from=2026-01-05&to=2026-01-06", [3, 6, 0, 2, 4]),
            ("from=2026-01-05&to=2026-01-05", [0, 2, 4]),
            ("from=1900-01-01&to=2199-12-31", NEWEST_DAY_FIRST),
            ("meal_type=lunch", [3, 2, 4]),
            ("meal_type=snacks", [1, 6]),
            ("date=2026-01-05&meal_type=lunch", [2, 4]),
            ("date=2026-01-07&meal_type=lunch", []),
            ("from=2026-01-06&to=2026-01-07&meal_type=snacks", [1, 6]),
            ("to=2026-01-05&meal_type=dinner", [5]),
            ("meal_type=LUNCH", [3, 2, 4]),
            ("meal_type=brunch", []),
            ("mood=fine&product_id=7", NEWEST_DAY_FIRST),
        ],
    )
    def test_can_be_filtered(self, api, diary, query, expected):
        assert shown(api.get(f"{ENTRIES}?{query}"), diary) == expected

    def test_finds_a_meal_with_another_name_as_it_was_sent(self, api, rye):
        for meal in ("Brunch", "brunch", "Snacks"):
            FoodEntryFactory(product=rye, meal_type=meal)

        response = api.get(ENTRIES, {"meal_type": " Brunch "})

        assert [row["meal_type"] for row in response.json()] == ["Brunch"]

    @pytest.mark.parametrize(
        ("query", "error"),
        [
            ("from=2026-01-06&to=2026-01-05", ("to", "Must not be before `from`.", "before_from")),
            (
                "date=2026-01-05&from=2026-01-05",
                ("date", "Not allowed together with `from` or `to`.", "date_and_range"),
            ),
            ("date=2026-01-05&to=2026-01-05", ("date", "Not allowed together with `from` or `to`.", "date_and_range")),
            (
                "date=2026-01-05&from=2026-01-05&to=2026-01-05",
                ("date", "Not allowed together with `from` or `to`.", "date_and_range"),
            ),
        ],
    )
    def test_refuses_contradictory_days(self, api, query, error):
        response = api.get(f"{ENTRIES}?{query}")

        assert response.status_code == 422
        assert response.json() == validation_error_body(error)
        assert "ETag" not in response

    @pytest.mark.parametrize("count", [1, 5])
    def test_takes_two_queries_for_any_number_of_entries(self, api, rye, django_assert_num_queries, count):
        for _ in range(count):
            FoodEntryFactory(product=rye, date=date(2026, 1, 5))

        with django_assert_num_queries(2):  # the device of the token, the entries
            response = api.get(f"{ENTRIES}?date=2026-01-05")

        assert len(response.json()) == count


class TestListPages:
    @pytest.mark.parametrize("limit", [1, 3, 6, 7])
    def test_never_repeat_or_skip_a_row(self, api, diary, limit):
        address, pages = f"{ENTRIES}?limit={limit}", []
        while address:
            response = api.get(address)
            pages.append(shown(response, diary))
            address = next_page(response)

        assert [len(page) for page in pages[:-1]] == [limit] * (len(pages) - 1)
        assert [number for page in pages for number in page] == NEWEST_DAY_FIRST

    def test_link_to_the_next_page_with_the_same_query(self, api, diary):
        first = api.get(f"{ENTRIES}?from=2026-01-05&to=2026-01-06&meal_type=lunch&limit=2")
        second = api.get(next_page(first))

        assert first["Link"].endswith('>; rel="next"')
        assert parse_qs(urlsplit(next_page(first)).query) == {
            "from": ["2026-01-05"],
            "to": ["2026-01-06"],
            "meal_type": ["lunch"],
            "limit": ["2"],
            "offset": ["2"],
        }
        assert shown(first, diary) + shown(second, diary) == [3, 2, 4]
        assert "Link" not in second

    def test_have_50_rows_by_default_and_200_at_most(self, api, device, rye):
        with change_set(device):
            for _ in range(201):
                FoodEntryFactory(product=rye)

        default, most = api.get(f"{ENTRIES}?date=2026-01-05"), api.get(f"{ENTRIES}?limit=200")

        assert [len(response.json()) for response in (default, most)] == [50, 200]
        assert next_page(default) == f"{ENTRIES}?date=2026-01-05&limit=50&offset=50"
        assert len(api.get(next_page(most)).json()) == 1
        assert api.get(f"{ENTRIES}?offset=1000000").json() == []


class TestReadAnEntry:
    def test_shows_it(self, api, by_weight, by_portion):
        response = api.get(f"{ENTRIES}/{by_portion.pk}")

        assert response.status_code == 200
        assert [response.json()] == [row for row in api.get(ENTRIES).json() if row["id"] == str(by_portion.pk)]

    def test_finds_it_by_an_id_in_upper_case(self, api, by_weight):
        response = api.get(f"{ENTRIES}/{str(by_weight.pk).upper()}")

        assert response.status_code == 200
        assert response.json()["id"] == str(by_weight.pk)

    def test_takes_two_queries(self, api, by_portion, django_assert_num_queries):
        with django_assert_num_queries(2):  # the device of the token, the entry
            response = api.get(f"{ENTRIES}/{by_portion.pk}")

        assert response.status_code == 200


@pytest.mark.parametrize("path", [ENTRIES, f"{ENTRIES}?date=2026-01-05&limit=5", f"{ENTRIES}/{{id}}", SUMMARY])
class TestConditionalReads:
    def test_take_one_query_if_nothing_has_changed(self, api, by_weight, django_assert_num_queries, path):
        path = path.format(id=by_weight.pk)
        first = api.get(path)

        with django_assert_num_queries(1):  # the device of the token
            second = api.get(path, headers={"If-None-Match": first["ETag"]})

        assert first["ETag"].startswith('W/"')
        assert (first["Cache-Control"], first["Vary"]) == ("private, no-cache", second["Vary"])
        assert "Authorization" in first["Vary"]
        assert (second.status_code, second.content) == (304, b"")
        assert second["ETag"] == first["ETag"]

    @pytest.mark.parametrize("sent", [{"grams": 100}, {"meal_type": "dinner"}])
    def test_return_the_new_state_after_a_change(self, api, by_weight, path, sent):
        path = path.format(id=by_weight.pk)
        first = api.get(path)
        api.patch(f"{ENTRIES}/{by_weight.pk}", sent)

        second = api.get(path, headers={"If-None-Match": first["ETag"]})

        assert second.status_code == 200
        assert second["ETag"] != first["ETag"]
        assert second.json() != first.json()

    def test_return_304_after_requests_that_changed_nothing(self, api, other_api, by_weight, path):
        path = path.format(id=by_weight.pk)
        first = api.get(path)
        row = api.get(f"{ENTRIES}/{by_weight.pk}").json()
        api.put(f"{ENTRIES}/{by_weight.pk}", row)
        api.post(ENTRIES, row)
        api.post(f"{ENTRIES}/batch", [])
        api.patch(f"{ENTRIES}/{by_weight.pk}", {"grams": 0})
        other_api.post("/v1/products", {"name": "Rye", "kcal_100g": 259})

        second = api.get(path, headers={"If-None-Match": first["ETag"]})

        assert second.status_code == 304

    def test_have_another_etag_for_another_device(self, api, other_api, by_weight, path):
        first = api.get(path.format(id=by_weight.pk))

        second = other_api.get(path.format(id=by_weight.pk), headers={"If-None-Match": first["ETag"]})

        assert second.status_code in (200, 404)
        assert second.get("ETag") != first["ETag"]
