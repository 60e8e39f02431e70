import gzip
import json
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from countonme.api import compression
from devices.models import Device, Erasure, Gap
from food_entries.tests.factories import FoodEntryFactory
from ownership.models import change_set
from products.tests.factories import PortionFactory, ProductFactory
from sync.registry import tables
from tests.harness.sync import NOTHING, live_rows, portion, product, pull_changes, push_ok, revision

SYNC = "/v1/sync"
EMPTY = {table.name: NOTHING for table in tables()}


@pytest.fixture
def rye(api) -> dict:
    row = product()
    push_ok(api, products={"created": [row]}, portions={"created": [portion(row, is_default=True)]})
    return row


@pytest.fixture
def past(api, device) -> dict[str, int]:
    """Create three products until revision 5: one is unchanged since 2, one changed in 4, and one is deleted in 5."""
    old, changed, deleted = product(name="Old"), product(name="Changed"), product(name="Deleted")
    push_ok(api, products={"created": [old, deleted]})
    push_ok(api, 2, products={"created": [changed]})
    push_ok(api, 3, products={"updated": [changed | {"kcal_100g": 1}]})
    push_ok(api, 4, products={"deleted": [deleted["id"]]})
    assert revision(api) == 5
    return {"old": old["id"], "changed": changed["id"], "deleted": deleted["id"]}


def live_and_deleted(answer: dict, table: str = "products") -> tuple[set, set]:
    """Return the ids of a table's live rows, and those of its deleted rows."""
    changes = answer["changes"][table]
    assert changes["created"] == []
    return {row["id"] for row in changes["updated"]}, set(changes["deleted"])


class TestFirstSync:
    @pytest.mark.parametrize("query", ["", "?last_pulled_at=", "?last_pulled_at=0", "?last_pulled_at=null"])
    def test_returns_all_live_rows_and_no_deletions(self, api, past, query):
        answer = api.get(SYNC + query).json()

        assert live_and_deleted(answer) == ({past["old"], past["changed"]}, set())
        assert answer["timestamp"] == 5
        assert answer.keys() == {"changes", "timestamp"}

    def test_is_empty_at_revision_1_for_a_new_device(self, api):
        assert pull_changes(api) == {"changes": EMPTY, "timestamp": 1}

    def test_returns_exactly_the_columns_of_each_table(self, api, device):
        rye = ProductFactory(device=device, name="Rye", barcode="4006381333931", unit="ml")
        slices = PortionFactory(product=rye, name="Slice")
        entry = FoodEntryFactory(product=rye, portion=slices, quantity=2)

        changes = pull_changes(api)["changes"]

        assert changes["products"]["updated"] == [
            {
                "id": str(rye.pk),
                "name": "Rye",
                "brand": None,
                "kcal_100g": 250,
                "protein_100g": 10.5,
                "carbs_100g": 30.25,
                "fat_100g": None,
                "sugars_100g": None,
                "saturated_fat_100g": None,
                "fiber_100g": None,
                "salt_100g": None,
                "unit": "ml",
                "barcode": "4006381333931",
                "is_favorite": False,
                "catalog_food_id": None,
            }
        ]
        assert changes["portions"]["updated"][-1] == {
            "id": str(slices.pk),
            "product_id": str(rye.pk),
            "name": "Slice",
            "grams": 40.0,
            "is_default": False,
        }
        assert changes["food_entries"]["updated"] == [
            {
                "id": str(entry.pk),
                "product_id": str(rye.pk),
                "portion_id": str(slices.pk),
                "date": "2026-01-05",
                "time": None,
                "meal_type": "snacks",
                "quantity": 2.0,
                "grams": 200.0,
                "portion_name": "Slice",
                "portion_grams": 40.0,
                "product_name": "Rye",
                "unit": "ml",
                "kcal": 500.0,
                "protein": 21.0,
                "carbs": 60.5,
                "fat": None,
                "sugars": None,
                "saturated_fat": None,
                "fiber": None,
                "salt": None,
            }
        ]

    def test_returns_no_rows_of_other_devices(self, api, other_api, past):
        assert pull_changes(other_api) == {"changes": EMPTY, "timestamp": 1}

    def test_is_neither_replacement_nor_restored_even_after_both(self, api, device, past):
        Device.objects.filter(pk=device.pk).update(purged_through=5)
        Gap.objects.create(device=device, after=0, before=5)

        assert pull_changes(api).keys() == {"changes", "timestamp"}


class TestPull:
    @pytest.mark.parametrize(
        ("since", "updated", "deleted"),
        [
            (1, {"old", "changed"}, {"deleted"}),
            (2, {"changed"}, {"deleted"}),
            (3, {"changed"}, {"deleted"}),
            (4, set(), {"deleted"}),
            (5, set(), set()),
        ],
    )
    def test_returns_changes_after_the_cursor(self, api, past, since, updated, deleted):
        answer = pull_changes(api, since)

        assert live_and_deleted(answer) == ({past[name] for name in updated}, {past[name] for name in deleted})
        assert answer["timestamp"] == 5
        assert answer.keys() == {"changes", "timestamp"}

    def test_returns_rows_created_over_rest(self, api):
        rye = api.post("/v1/products", {"name": "Rye", "kcal_100g": 259}).json()

        answer = pull_changes(api, 1)

        assert live_and_deleted(answer) == ({rye["id"]}, set())
        assert live_and_deleted(answer, "portions") == ({rye["portions"][0]["id"]}, set())

    def test_sorts_rows_by_their_last_change(self, api, device):
        first, second = ProductFactory(device=device), ProductFactory(device=device)
        with change_set(device):
            first.change(kcal_100g=1)

        rows = pull_changes(api)["changes"]["products"]["updated"]

        assert [row["id"] for row in rows] == [str(second.pk), str(first.pk)]

    def test_sorts_rows_of_one_revision_by_id(self, api):
        rows = [product() for _ in range(20)]
        push_ok(api, products={"created": rows})

        found = [row["id"] for row in pull_changes(api)["changes"]["products"]["updated"]]

        assert found == sorted(row["id"] for row in rows)


class TestCursorBeforeAPurge:
    @pytest.fixture
    def purged(self, device, past):
        Device.objects.filter(pk=device.pk).update(purged_through=4)

    @pytest.mark.parametrize("since", [1, 3])
    def test_gets_a_replacement(self, api, past, purged, since):
        answer = pull_changes(api, since)

        assert live_and_deleted(answer) == ({past["old"], past["changed"]}, set())
        assert answer["experimentalStrategy"] == "replacement"
        assert answer.keys() == {"changes", "timestamp", "experimentalStrategy"}

    @pytest.mark.parametrize("since", [4, 5])
    def test_gets_no_replacement_if_it_has_pulled_all_purged_tombstones(self, api, past, purged, since):
        answer = pull_changes(api, since)

        assert live_and_deleted(answer)[0] == set()
        assert answer.keys() == {"changes", "timestamp"}


class TestCursorBeforeARestore:
    @pytest.mark.parametrize("since", [6, 10**9, 2**53 - 1])
    def test_is_ahead_of_the_device(self, api, past, since):
        answer = pull_changes(api, since)

        assert live_and_deleted(answer) == ({past["old"], past["changed"]}, {past["deleted"]})
        assert answer["restored"] is True
        assert answer["timestamp"] == 5
        assert answer.keys() == {"changes", "timestamp", "restored", "newer"}

    @pytest.mark.parametrize(("since", "lost"), [(0, False), (1, True), (2, True), (3, True), (4, False), (5, False)])
    def test_is_in_the_gap_of_a_restore(self, api, device, past, since, lost):
        Gap.objects.create(device=device, after=2, before=4)

        answer = pull_changes(api, since)

        assert ("restored" in answer) == lost
        if lost:
            assert live_and_deleted(answer) == ({past["old"], past["changed"]}, {past["deleted"]})

    @pytest.mark.parametrize(
        ("since", "newer"), [(1, {"old", "changed"}), (2, {"changed"}), (3, {"changed"}), (4, set())]
    )
    def test_gets_the_ids_of_newer_rows(self, api, device, past, since, newer):
        Gap.objects.create(device=device, after=4, before=5)

        answer = pull_changes(api, since)

        assert set(answer["newer"]["products"]) == {past[name] for name in newer}
        assert list(answer["newer"]) == list(answer["changes"])

    def test_is_not_affected_by_another_devices_gap(self, api, other_device, past):
        Gap.objects.create(device=other_device, after=2, before=4)

        assert pull_changes(api, 3).keys() == {"changes", "timestamp"}

    def test_gets_restored_rather_than_a_replacement(self, api, device, past):
        Device.objects.filter(pk=device.pk).update(purged_through=4)
        Gap.objects.create(device=device, after=2, before=4)

        answer = pull_changes(api, 3)

        assert answer.keys() == {"changes", "timestamp", "restored", "newer"}
        assert live_and_deleted(answer) == ({past["old"], past["changed"]}, {past["deleted"]})


class TestInvalidCursor:
    @pytest.mark.parametrize(
        "text",
        [
            *("-1", "+1", "1.0", "1e3", "%201", "1%20", "%D9%A1", "0x1", "1,2", "%00"),
            *("NULL", "none", "undefined", "NaN", "9" * 16, "9" * 5000, str(2**53)),
        ],
        ids=lambda text: text[:20],
    )
    @pytest.mark.parametrize("method", ["get", "post"])
    def test_returns_422(self, api, all_rows, rye, text, method):
        before = all_rows()

        response = getattr(api, method)(f"{SYNC}?last_pulled_at={text}", **({"data": {}} if method == "post" else {}))

        assert response.status_code == 422
        assert response.json()["detail"] == "Validation error"
        assert [error["loc"] for error in response.json()["errors"]] == [["last_pulled_at"]]
        assert all_rows() == before


class TestMigration:
    def pull(self, api, migration, since=5):
        sent = migration if isinstance(migration, str) else json.dumps(migration)
        return api.get(SYNC, {"last_pulled_at": since, "schema_version": 2, "migration": sent})

    @pytest.mark.parametrize(
        "migration",
        [
            {"from": 1, "tables": ["products"], "columns": []},
            {"from": 1, "tables": [], "columns": [{"table": "products", "columns": ["barcode"]}]},
            {"tables": ["recipes", "products"]},
        ],
        ids=["a table", "a column", "with an unknown one"],
    )
    def test_returns_all_live_rows_of_its_tables(self, api, past, migration):
        answer = self.pull(api, migration).json()

        assert live_and_deleted(answer) == ({past["old"], past["changed"]}, set())
        assert answer["changes"]["portions"] == NOTHING

    def test_returns_only_new_deletions(self, api, past):
        assert live_and_deleted(self.pull(api, {"tables": ["products"]}, since=4).json())[1] == {past["deleted"]}
        assert live_and_deleted(self.pull(api, {"tables": ["products"]}, since=5).json())[1] == set()

    @pytest.mark.parametrize("migration", ["", "null", {"from": 1, "tables": [], "columns": []}, {"tables": ["x"]}, {}])
    def test_is_ignored_if_it_has_no_known_table(self, api, past, migration):
        assert self.pull(api, migration).json() == pull_changes(api, 5)

    @pytest.mark.parametrize(
        "migration",
        [
            *("{", "[", "[]", "5", '"x"', "NaN", "[" * 4000, "9" * 5000),
            *('{"tables": 5}', '{"tables": [[]]}', '{"columns": [5]}', '{"columns": [{}]}'),
            '{"columns": [{"table": []}]}',
        ],
        ids=lambda text: text[:20],
    )
    def test_returns_422_if_it_is_invalid(self, api, past, migration):
        response = self.pull(api, migration)

        assert response.status_code == 422
        assert {error["loc"][0] for error in response.json()["errors"]} == {"migration"}


class TestConditionalPull:
    def pull(self, api, etag: str, since=5):
        return api.get(SYNC, {"last_pulled_at": since}, headers={"If-None-Match": etag})

    def test_returns_304_with_one_query(self, api, past, django_assert_num_queries):
        first = api.get(SYNC, {"last_pulled_at": 5})

        with django_assert_num_queries(1):  # the device, with its revision
            response = self.pull(api, first["ETag"])

        assert (response.status_code, response.content) == (304, b"")
        assert first["ETag"].startswith('W/"')
        assert first["Cache-Control"] == "private, no-cache"

    def test_returns_200_after_a_change(self, api, past):
        first = api.get(SYNC, {"last_pulled_at": 5})
        row = product()
        push_ok(api, 5, products={"created": [row]})

        assert live_and_deleted(self.pull(api, first["ETag"]).json()) == ({row["id"]}, set())

    def test_returns_200_with_another_cursor(self, api, past):
        first = api.get(SYNC, {"last_pulled_at": 5})

        assert self.pull(api, first["ETag"], since=4).status_code == 200

    def test_returns_200_after_a_purge(self, api, device, past):
        first = api.get(SYNC, {"last_pulled_at": 3})
        Device.objects.filter(pk=device.pk).update(purged_through=5)

        assert self.pull(api, first["ETag"], since=3).json()["experimentalStrategy"] == "replacement"


class TestResponse:
    @pytest.mark.parametrize(
        ("accepted", "encoding"), [("gzip", "gzip"), ("br, gzip", "gzip"), ("", None), ("br", None)]
    )
    def test_is_compressed_if_the_client_accepts_it(self, api, past, accepted, encoding, monkeypatch):
        monkeypatch.setattr(compression, "SMALL", 200)
        plain = pull_changes(api)

        response = api.get(SYNC, headers={"Accept-Encoding": accepted})

        body = gzip.decompress(response.content) if encoding else response.content
        assert json.loads(body) == plain
        assert response.get("Content-Encoding") == encoding
        assert int(response["Content-Length"]) == len(response.content)
        assert {"Authorization", "Accept-Encoding"} <= set(response["Vary"].split(", "))
        assert response["ETag"].startswith('W/"')

    def test_is_compressed_after_a_push_too(self, api):
        refused = [product(kcal_100g=-1) for _ in range(20)]

        response = api.post(SYNC, {"products": {"created": refused}}, headers={"Accept-Encoding": "gzip"})

        assert response["Content-Encoding"] == "gzip"
        assert len(json.loads(gzip.decompress(response.content))["rejected"]) == 20

    def test_is_401_if_the_device_is_deleted_during_the_pull(self, api, device, past):
        def delete_device(execute, sql, *args):
            if "FROM gaps" in sql and Device.objects.filter(pk=device.pk, deleted_at=None).exists():
                Erasure.objects.request(device.pk, uuid4())
            return execute(sql, *args)

        with connection.execute_wrapper(delete_device):
            response = api.get(SYNC)

        assert response.status_code == 401
        assert response.json() == {"detail": "Invalid or expired token"}


class TestQueries:
    @pytest.mark.parametrize("rows", [1, 100])
    @pytest.mark.parametrize(
        "query",
        ["", "?last_pulled_at=1", "?last_pulled_at=999999", '?last_pulled_at=1&migration={"tables": [%s]}'],
        ids=["first", "again", "restored", "migrated"],
    )
    def test_do_not_grow_with_the_number_of_rows(self, api, rows, query):
        new = [product() for _ in range(rows)]
        push_ok(api, products={"created": new})
        push_ok(api, revision(api), products={"deleted": [row["id"] for row in new[::2]]})
        names = ", ".join(f'"{table.name}"' for table in tables())
        path = SYNC + (query % names if "%s" in query else query)

        with CaptureQueriesContext(connection) as found:
            response = api.get(path)

        queries = [query["sql"] for query in found if "SAVEPOINT" not in query["sql"]]
        assert response.status_code == 200
        assert len(queries) == 1 + 1 + len(tables())  # the device by its token, its row in the snapshot, each table


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_a_pull_in_its_own_transaction_runs_six_queries(api):
    """Inside the transaction of a test, a pull can't set its isolation level."""
    with CaptureQueriesContext(connection) as found:
        assert api.get(SYNC).status_code == 200

    queries = [query["sql"] for query in found if query["sql"] not in ("BEGIN", "COMMIT")]
    assert len(queries) == 6
    assert "REPEATABLE READ" in queries[1]


def test_a_first_sync_and_rest_return_the_same_live_rows(api, device):
    ProductFactory.create_batch(3, device=device)
    gone = ProductFactory(device=device)
    assert api.delete(f"/v1/products/{gone.pk}").status_code == 204

    shown = api.get("/v1/products").json()

    assert len(shown) == 3
    assert {row["id"] for row in shown} == live_rows(api, "products").keys()
