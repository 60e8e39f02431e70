"""Requests for entries of another device, deleted entries and missing entries get identical responses."""

from uuid import uuid4

import pytest

from food_entries.models import FoodEntry
from food_entries.tests.factories import FoodEntryFactory

ENTRIES = "/v1/food-entries"
SUMMARY = f"{ENTRIES}/summary?from=2026-01-01&to=2026-01-31"
INVALID_UUIDS = ("rye", "7", "c2a4e8f05d1b4a7e9c3f8b6d0e2f4a19", "%00", "é", "null", "summary%20")

ENTRY_REQUESTS = [
    ("GET", ENTRIES + "/{id}", None),
    ("PUT", ENTRIES + "/{id}", {"grams": 100}),
    ("PATCH", ENTRIES + "/{id}", {"grams": 100}),
    ("PATCH", ENTRIES + "/{id}", {"grams": 0}),
    ("PATCH", ENTRIES + "/{id}", {}),
    ("DELETE", ENTRIES + "/{id}", None),
]
LIST_REQUESTS = [
    ("GET", ENTRIES, None),
    ("GET", f"{ENTRIES}?date=today", None),
    ("GET", SUMMARY, None),
    ("POST", ENTRIES, {"grams": 100}),
    ("POST", f"{ENTRIES}/batch", []),
]


def calls(rows):
    return pytest.mark.parametrize(
        ("method", "path", "body"), rows, ids=[f"{method} {path} {body or ''}".strip() for method, path, body in rows]
    )


def call(client, method: str, path: str, body):
    return client.generic(method, path) if body is None else getattr(client, method.lower())(path, body)


def without_request_id(response) -> tuple:
    """Return everything of a response except its request id."""
    headers = {name: value for name, value in response.headers.items() if name != "X-Request-ID"}
    return response.status_code, tuple(sorted(headers.items())), response.content


class TestAnEntryThatIsNotTheCallers:
    @calls(ENTRY_REQUESTS)
    def test_looks_like_one_that_does_not_exist(self, api, device, other_device, all_rows, method, path, body):
        theirs, gone = FoodEntryFactory(device=other_device), FoodEntryFactory(device=device)
        api.delete(f"{ENTRIES}/{gone.pk}")
        before = all_rows()

        responses = {
            without_request_id(call(api, method, path.format(id=row_id), body))
            for row_id in (theirs.pk, gone.pk, gone.product_id, uuid4(), *INVALID_UUIDS)
        }

        ((status, _, content),) = responses
        assert (status, content) == (404, b'{"detail":"Food entry not found"}')
        assert all_rows() == before

    def test_can_not_be_restored(self, api, device, other_device, other_api, all_rows):
        purged, live, gone = FoodEntryFactory(device=device), *(FoodEntryFactory(device=other_device) for _ in range(2))
        api.delete(f"{ENTRIES}/{purged.pk}")
        other_api.delete(f"{ENTRIES}/{gone.pk}")
        FoodEntry.all_objects.for_device(device).purge()
        before = all_rows()

        unknown = without_request_id(api.get(f"{ENTRIES}/{uuid4()}"))
        responses = {
            without_request_id(api.post(f"{ENTRIES}/{row_id}/restore"))
            for row_id in (purged.pk, live.pk, gone.pk, live.product_id, uuid4(), *INVALID_UUIDS)
        }

        assert responses == {unknown}
        assert unknown[0] == 404
        assert all_rows() == before

    def test_is_in_no_list_and_no_summary(self, api, device, other_device):
        mine = FoodEntryFactory(device=device)
        theirs, gone = FoodEntryFactory(device=other_device), FoodEntryFactory(device=device)
        api.delete(f"{ENTRIES}/{gone.pk}")

        rows = api.get(ENTRIES).json()
        days = api.get(SUMMARY).json()

        assert [row["id"] for row in rows] == [str(mine.pk)]
        assert [day["entries"] for day in days if day["entries"]] == [1]
        assert theirs.date == gone.date == mine.date


class TestARequestWithoutAToken:
    @calls([*ENTRY_REQUESTS, *LIST_REQUESTS, ("POST", ENTRIES + "/{id}/restore", None)])
    def test_is_refused(self, anonymous, by_weight, all_rows, method, path, body):
        before = all_rows()

        response = call(anonymous, method, path.format(id=by_weight.pk), body)

        assert response.status_code == 401
        assert response.content == b'{"detail":"Authentication credentials were not provided."}'
        assert response["WWW-Authenticate"] == "Bearer"
        assert all_rows() == before


class TestDeleteEntry:
    def test_hides_it(self, api, device, by_weight, by_portion):
        device.refresh_from_db()
        revision = device.revision

        response = api.delete(f"{ENTRIES}/{by_weight.pk}")

        device.refresh_from_db()
        gone = FoodEntry.all_objects.for_device(device).get(pk=by_weight.pk)
        assert (response.status_code, response.content) == (204, b"")
        assert api.get(f"{ENTRIES}/{by_weight.pk}").json() == {"detail": "Food entry not found"}
        assert [row["id"] for row in api.get(ENTRIES).json()] == [str(by_portion.pk)]
        assert gone.deleted_at is not None
        assert gone.revision == device.revision == revision + 1

    def test_returns_404_the_second_time(self, api, by_weight, all_rows):
        api.delete(f"{ENTRIES}/{by_weight.pk}")
        before = all_rows()

        response = api.delete(f"{ENTRIES}/{by_weight.pk}")

        assert response.status_code == 404
        assert response.json() == {"detail": "Food entry not found"}
        assert all_rows() == before

    def test_works_after_the_product_was_deleted(self, api, device, rye, by_weight):
        api.delete(f"/v1/products/{rye.pk}")

        response = api.delete(f"{ENTRIES}/{by_weight.pk}")

        assert response.status_code == 204
        assert not device.food_entries.exists()
