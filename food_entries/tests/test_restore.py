"""`POST /v1/food-entries/{id}/restore`."""

from food_entries.models import FoodEntry
from ownership.tests.counters import counted, counters
from tests.harness.sync import pull_changes, push

ENTRIES = "/v1/food-entries"
DAY = f"{ENTRIES}/summary?from=2026-01-05&to=2026-01-05"


def path(entry) -> str:
    return f"{ENTRIES}/{entry.pk}"


def delete(api, entry) -> None:
    assert api.delete(path(entry)).status_code == 204


def restore(api, entry):
    return api.post(f"{path(entry)}/restore")


class TestRestoreEntry:
    def test_returns_it_as_it_was(self, api, by_portion):
        before = api.get(path(by_portion)).json()
        delete(api, by_portion)

        response = restore(api, by_portion)

        now = api.get(path(by_portion)).json()
        assert (response.status_code, response.json()) == (200, now)
        assert now == before | {"updated_at": now["updated_at"]}
        assert now["updated_at"] is not None

    def test_adds_it_to_the_list_and_the_summary_again(self, api, by_weight, by_portion):
        reads = [ENTRIES, f"{ENTRIES}?date=2026-01-05", DAY]
        before = [len(api.get(ENTRIES).json()), api.get(DAY).json()]
        etags = [api.get(read)["ETag"] for read in reads]
        delete(api, by_weight)

        restore(api, by_weight)

        assert [len(api.get(ENTRIES).json()), api.get(DAY).json()] == before
        changed = [api.get(read, headers={"If-None-Match": tag}) for read, tag in zip(reads, etags, strict=True)]
        assert [response.status_code for response in changed] == [200] * 3

    def test_returns_a_live_entry_unchanged(self, api, by_weight, all_rows):
        delete(api, by_weight)
        first = restore(api, by_weight)
        before = all_rows()

        again = restore(api, by_weight)

        assert (again.status_code, again.content) == (200, first.content)
        assert all_rows() == before

    def test_uses_one_revision(self, api, device, by_weight):
        delete(api, by_weight)
        device.refresh_from_db()
        before = device.revision

        restore(api, by_weight)

        device.refresh_from_db()
        assert FoodEntry.objects.get(pk=by_weight.pk).revision == device.revision == before + 1

    def test_works_if_its_product_and_portion_are_deleted(self, api, rye, by_portion):
        delete(api, by_portion)
        api.delete(f"/v1/products/{rye.pk}")

        row = restore(api, by_portion).json()

        assert (row["product_id"], row["portion_id"]) == (str(rye.pk), str(by_portion.portion_id))
        assert (row["quantity"], row["grams"]) == (2, 71)

    def test_keeps_the_values_with_which_it_was_logged(self, api, rye, by_weight):
        before = api.get(path(by_weight)).json()
        delete(api, by_weight)
        api.patch(f"/v1/products/{rye.pk}", {"name": "Other", "kcal_100g": 1})

        row = restore(api, by_weight).json()

        assert (row["product_name"], row["kcal"]) == (before["product_name"], before["kcal"])

    def test_is_allowed_when_the_quotas_are_used_up(self, api, settings, device, by_weight):
        """Deleted rows count against the quotas, so a restored entry is no new row."""
        delete(api, by_weight)
        settings.MAX_FOOD_ENTRIES = settings.NEW_ROWS_FIRST_DAY = 0

        assert restore(api, by_weight).status_code == 200
        assert counters(device) == counted(device) == counters(device) | {"food_entries": 1}


class TestARestoredEntry:
    def test_reaches_other_installs_as_updated(self, api, by_weight):
        delete(api, by_weight)
        cursor = pull_changes(api)["timestamp"]

        restore(api, by_weight)

        changes = pull_changes(api, cursor)["changes"]["food_entries"]
        assert [row["id"] for row in changes["updated"]] == [str(by_weight.pk)]
        assert changes["deleted"] == []

    def test_is_a_conflict_for_an_install_that_deletes_it_and_has_not_pulled_it(self, api, by_weight, all_rows):
        delete(api, by_weight)
        cursor = pull_changes(api)["timestamp"]
        restore(api, by_weight)
        before = all_rows()

        response = push(api, cursor, food_entries={"deleted": [str(by_weight.pk)]})

        assert response.status_code == 409
        assert response.json()["conflicts"] == {"food_entries": [str(by_weight.pk)]}
        assert all_rows() == before
