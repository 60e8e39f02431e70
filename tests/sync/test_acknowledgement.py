"""Push: each row and deletion that the response does not reject has been stored."""

import json
from uuid import uuid4

import pytest

from sync.push import payload
from tests.harness.sync import ALL_STORED, entry, errors_of, live_rows, portion, product, push, push_ok, revision

UNKNOWN = [("unknown_table",)]
QUOTA = [("quota",)]


@pytest.fixture
def rye(api) -> dict:
    row = product()
    push_ok(api, products={"created": [row]})
    return row


class TestDeletion:
    @pytest.mark.parametrize("spelled", [str.upper, str.title, str.swapcase], ids=lambda spelled: spelled.__name__)
    @pytest.mark.parametrize("table", ["products", "portions", "food_entries"])
    def test_deletes_the_row_in_any_letter_case(self, api, rye, table, spelled):
        rows = {"products": rye, "portions": portion(rye), "food_entries": entry(rye)}
        push_ok(
            api,
            revision(api),
            portions={"created": [rows["portions"]]},
            food_entries={"created": [rows["food_entries"]]},
        )
        row_id = rows[table]["id"]

        answer = push_ok(api, revision(api), **{table: {"deleted": [spelled(row_id)]}})

        assert answer == ALL_STORED
        assert row_id not in live_rows(api, table)

    def test_wins_over_an_update_with_the_id_in_another_letter_case(self, api, rye):
        answer = push_ok(api, revision(api), products={"updated": [rye], "deleted": [rye["id"].upper()]})

        assert answer == ALL_STORED
        assert live_rows(api, "products") == {}


class TestUnknownTable:
    def test_each_row_and_deletion_is_rejected(self, api, rye):
        weights = {
            "created": [{"id": "1", "kg": 70}],
            "updated": [{"id": "2"}, {"id": "2", "kg": 71}],
            "deleted": ["3", "no UUID"],
        }

        answer = push_ok(api, revision(api), weights=weights, products={"updated": [rye | {"kcal_100g": 3}]})

        assert answer["experimentalRejectedIds"] == {"weights": ["1", "2", "3", "no UUID"]}
        assert errors_of(answer) == [("weights", row_id, UNKNOWN) for row_id in ("1", "2", "3", "no UUID")]
        assert live_rows(api, "products")[rye["id"]]["kcal_100g"] == 3

    @pytest.mark.parametrize("lists", [{}, {"created": []}, {"created": [], "updated": [], "deleted": []}])
    def test_can_be_empty(self, api, lists):
        assert push_ok(api, 1, foodEntries=lists) == ALL_STORED

    @pytest.mark.parametrize(
        ("body", "loc"),
        [
            ({"weights": 5}, ["weights"]),
            ({"weights": None}, ["weights"]),
            ({"weights": []}, ["weights"]),
            ({"weights": {"created": 5}}, ["weights", "created"]),
            ({"weights": {"created": [5]}}, ["weights", "created", 0]),
            ({"weights": {"created": [{}]}}, ["weights", "created", 0, "id"]),
            ({"weights": {"deleted": [5]}}, ["weights", "deleted", 0]),
            ({"weights": {"create": []}}, ["weights", "create"]),
            ({"products": {"create": []}}, ["products", "create"]),
            ({"products": {"changes": {}}}, ["products", "changes"]),
            ({"changes": {"products": {"created": []}}}, ["changes"]),
            ({"changes": None}, ["changes"]),
            ({"changes": {}, "products": {}}, ["changes"]),
        ],
        ids=json.dumps,
    )
    def test_returns_422_if_the_structure_is_wrong(self, api, all_rows, body, loc):
        before = all_rows()

        response = push(api, 1, **body)

        assert response.status_code == 422
        assert [error["loc"] for error in response.json()["errors"]] == [loc]
        assert all_rows() == before

    @pytest.mark.parametrize(
        "body", ['{"\\ud800": {}}', '{"\\ud800": {"created": [{"id": "1"}]}}', '{"products": {"\\ud800": []}}']
    )
    def test_returns_422_if_a_key_has_a_lone_surrogate(self, api, body):
        response = api.post("/v1/sync", body, content_type="application/json")

        assert response.status_code == 422

    def test_returns_422_if_the_name_is_too_long(self, api, all_rows):
        before = all_rows()

        refused = push(api, 1, **{"x" * 65: {"deleted": ["1"]}})
        named = push_ok(api, 1, **{"x" * 64: {"deleted": ["1"]}})

        assert refused.status_code == 422
        assert refused.json()["errors"][0]["msg"] == "A table's name has at most 64 characters."
        assert named["experimentalRejectedIds"] == {"x" * 64: ["1"]}
        assert all_rows() == before

    @pytest.mark.parametrize("table", ["weights", "products"])
    def test_returns_422_if_an_id_is_too_long(self, api, table):
        refused = push(api, 1, **{table: {"created": [{"id": "x" * 65}]}})
        deleted = push(api, 1, weights={"deleted": ["x" * 65]})

        assert (refused.status_code, deleted.status_code) == (422, 422)
        assert refused.json()["errors"][0]["msg"] == "An id has at most 64 characters."
        assert [error["loc"] for error in refused.json()["errors"]] == [[table, "created", 0, "id"]]
        assert [error["loc"] for error in deleted.json()["errors"]] == [["weights", "deleted", 0]]

    def test_returns_413_for_too_many_rows(self, api, monkeypatch):
        monkeypatch.setattr(payload, "MAX_UNKNOWN_ROWS", 3)

        assert push(api, 1, weights={"deleted": ["1", "2"]}, heights={"deleted": ["1"]}).status_code == 200
        assert push(api, 1, weights={"deleted": ["1", "2"]}, heights={"deleted": ["1", "2"]}).status_code == 413

    def test_error_messages(self, api):
        wrapped = push(api, 1, changes={}).json()["errors"]
        misspelt = push(api, 1, products={"create": []}).json()["errors"]

        assert wrapped[0]["msg"] == "Send the tables themselves, without `changes` around them."
        assert misspelt[0]["msg"] == "A table has the lists `created`, `updated` and `deleted`, and no other key."


class TestContentType:
    @pytest.mark.parametrize("content_type", ["text/plain", "text/plain;charset=UTF-8", "Text/Plain", ""])
    def test_can_be_plain_text_or_missing(self, api, content_type):
        row = product()

        response = api.generic(
            "POST", "/v1/sync", json.dumps({"products": {"created": [row]}}), content_type=content_type
        )

        assert (response.status_code, response.json()) == (200, ALL_STORED)
        assert live_rows(api, "products") == {row["id"]: row}

    @pytest.mark.parametrize("content_type", ["text/html", "application/x-www-form-urlencoded", "application/xml", "x"])
    def test_returns_415_for_other_types(self, api, all_rows, content_type):
        before = all_rows()

        response = api.generic("POST", "/v1/sync", "{}", content_type=content_type)

        assert response.status_code == 415
        assert all_rows() == before

    def test_must_be_json_in_rest(self, api):
        row = json.dumps({"name": "Rye bread", "kcal_100g": 259})

        assert api.generic("POST", "/v1/products", row, content_type="text/plain").status_code == 415


class TestPushLimit:
    @pytest.fixture(autouse=True)
    def _limit(self, monkeypatch):
        monkeypatch.setattr(payload, "MAX_ROWS", 5)

    def test_stores_the_first_rows_and_rejects_the_others(self, api):
        products = [product() for _ in range(3)]
        entries = [entry(products[0]) for _ in range(4)]

        answer = push_ok(api, 1, food_entries={"created": entries}, products={"created": products})
        again = push_ok(api, revision(api), food_entries={"created": entries[2:]})

        left = [row["id"] for row in entries[2:]]
        assert answer["experimentalRejectedIds"] == {"food_entries": left}
        assert errors_of(answer) == [("food_entries", row_id, QUOTA) for row_id in left]
        assert again == ALL_STORED
        assert live_rows(api, "food_entries").keys() == {row["id"] for row in entries}

    def test_counts_deletions_and_each_id_once(self, api):
        ids = [str(uuid4()) for _ in range(3)]
        rows = [product() for _ in range(3)]

        answer = push_ok(api, 1, products={"deleted": ids + ids, "created": rows + rows, "updated": [rows[0], rows[2]]})

        assert answer["experimentalRejectedIds"] == {"products": [rows[2]["id"]]}
        assert live_rows(api, "products").keys() == {row["id"] for row in rows[:2]}

    def test_rejects_deletions(self, api):
        ids = [str(uuid4()) for _ in range(7)]

        answer = push_ok(api, 1, portions={"deleted": ids})

        assert errors_of(answer) == [("portions", row_id, QUOTA) for row_id in ids[5:]]

    def test_does_not_store_a_row_whose_deletion_is_rejected(self, api):
        ids = [str(uuid4()) for _ in range(5)]
        row = product()

        answer = push_ok(api, 1, products={"deleted": [*ids, row["id"]], "created": [row]})

        assert answer["experimentalRejectedIds"] == {"products": [row["id"]]}
        assert live_rows(api, "products") == {}
