"""Memory of a push and a pull: parsed rows, validated rows and models must never all be in memory at once."""

import gc
import json
import tracemalloc
from datetime import date
from decimal import Decimal

import pytest

from countonme.api import compression
from food_entries.models import FoodEntry
from ownership.models import change_set
from products.tests.factories import ProductFactory
from sync.push import payload, response
from sync.views import SyncViewSet
from tests.harness.sync import ALL_STORED, entry, live_rows, portion, product, push_ok, revision

pytestmark = pytest.mark.usefixtures("unverified_queries")

COUNT = 3_000
SYNCED = {"_status": "updated", "_changed": "grams"}  # as the client library sends a row


def diary(count: int) -> dict[str, list[dict]]:
    """Return the rows of a long time offline: a tenth are products, a tenth portions, the others entries."""
    products = [product(**SYNCED) for _ in range(count // 10)]
    portions = [portion(of, is_default=True, **SYNCED) for of in products]
    entries = [
        entry(of, portion_id=part["id"], quantity=2, product_name=of["name"], kcal=181.3, protein=5.95, **SYNCED)
        for of, part in zip(products * 8, portions * 8, strict=True)
    ]
    return {"products": products, "portions": portions, "food_entries": entries}


def peak_of(api, since: int, tables: dict, name: str = "updated", accepted: str = "") -> float:
    """Push the tables' lists of this name, and return the peak of Python's memory, as a multiple of the body."""
    body = json.dumps({table: {name: rows} for table, rows in tables.items()}).encode()
    tracemalloc.start()
    try:
        response = api.post(
            f"/v1/sync?last_pulled_at={since}",
            body,
            content_type="application/json",
            headers={"Accept-Encoding": accepted},
        )
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert response.status_code == 200
    return peak / len(body) - 1  # without the copy of the test client


def push_new_rows(api, tables: dict) -> dict:
    """Push the rows as `created`, and return them."""
    answer = push_ok(api, revision(api), **{name: {"created": rows} for name, rows in tables.items()})
    assert answer == ALL_STORED
    return tables


def ids_of(tables: dict) -> dict[str, list[str]]:
    return {name: [row["id"] for row in rows] for name, rows in tables.items()}


@pytest.fixture
def warm(api) -> int:
    """Fill all caches with a first push, and return the revision."""
    peak_of(api, 1, diary(10))
    return revision(api)


class TestPushBody:
    @pytest.mark.parametrize(
        ("table", "status"),
        [({"created": 5}, 422), ({"deleted": ["1"]}, 200), ({"created": [{"id": "1"}]}, 200)],
        ids=["invalid", "deletions", "rows"],
    )
    def test_is_freed_with_its_response(self, api, warm, rf, table, status):
        """No reference cycle may keep a body until garbage collection: a few bodies would fill the memory."""
        push = SyncViewSet.as_view({"post": "push"})  # responses of the test client have reference cycles
        body = json.dumps({"weights": table, "heights": {"created": [{"id": "1", "text": "x" * 2_000_000}]}}).encode()
        gc.collect()
        gc.disable()
        tracemalloc.start()
        try:
            for _ in range(10):
                request = rf.post("/v1/sync", body, "application/json", HTTP_AUTHORIZATION=f"Bearer {api.token}")
                assert push(request).status_code == status
                del request
            held, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
            gc.enable()

        assert held < 11 * len(body)  # each request of the factory holds its body once


class TestPushPeak:
    def test_is_below_ten_bodies(self, api, warm):
        rows = diary(COUNT)
        new = peak_of(api, warm, rows)
        for row in [row for table in rows.values() for row in table]:
            row["grams" if "grams" in row else "kcal_100g"] = 99
        updated = peak_of(api, revision(api), rows)

        assert max(new, updated) < 10, (new, updated)

    def test_is_below_ten_bodies_of_one_table(self, api, warm):
        of = product()
        for name, rows, edit in (
            ("products", [of, *(product() for _ in range(COUNT))], {"kcal_100g": 3}),
            ("food_entries", [entry(of) for _ in range(COUNT)], {"grams": 3}),
        ):
            new = peak_of(api, revision(api), {name: rows})
            edited = peak_of(api, revision(api), {name: [row | edit for row in rows]})

            assert max(new, edited) < 10, (name, new, edited)

    def test_is_below_ten_bodies_of_deletions(self, api, warm):
        rows = push_new_rows(api, diary(3 * COUNT))
        del rows["products"]  # the server would create another portion for each

        assert peak_of(api, revision(api), ids_of(rows), "deleted") < 10
        assert not live_rows(api, "food_entries").keys() & ids_of(rows)["food_entries"]

    def test_is_below_ten_bodies_of_deleted_products(self, api, warm):
        rows = push_new_rows(api, {"products": [product() for _ in range(2 * COUNT)]})

        assert peak_of(api, revision(api), ids_of(rows), "deleted") < 10
        assert len(live_rows(api, "portions")) == 1  # from the fixture `warm`

    def test_is_below_ten_bodies_of_small_edits(self, api, warm):
        products = [product() for _ in range(COUNT)]
        portions = [portion(of, name="x", grams=1, is_default=True) for of in products]
        push_new_rows(api, {"products": products, "portions": portions})

        edited = peak_of(api, revision(api), {"portions": [row | {"grams": 2} for row in portions]})

        assert edited < 10

    def test_is_below_ten_bodies_of_new_default_portions(self, api, warm):
        products = push_new_rows(api, {"products": [product() for _ in range(2 * COUNT)]})["products"]

        new = peak_of(api, revision(api), {"portions": [portion(of, is_default=True) for of in products]})

        assert new < 10

    @pytest.mark.parametrize("accepted", ["gzip", ""])
    @pytest.mark.parametrize(
        ("table", "name"), [("weights", "deleted"), ("weights", "created"), ("food_entries", "created")]
    )
    def test_is_below_ten_bodies_of_rejected_rows(self, api, warm, monkeypatch, table, name, accepted):
        """The response alone is up to seven times as long as these bodies."""
        monkeypatch.setattr(response, "LARGE", 100_000)
        ids = [row["id"] for row in diary(3 * COUNT)["food_entries"]]
        rows = ids if name == "deleted" else [{"id": row_id} for row_id in ids]

        assert peak_of(api, warm, {table: rows}, name, accepted) < 10

    @pytest.mark.parametrize(
        ("table", "values"), [("products", {"name": "\u200b"}), ("food_entries", {"date": "2569-01-05"})]
    )
    def test_is_below_ten_bodies_of_rows_that_may_be_older_than_a_rule(self, api, warm, monkeypatch, table, values):
        monkeypatch.setattr(response, "LARGE", 100_000)
        rows = [{"id": row["id"], **values} for row in diary(3 * COUNT)["food_entries"]]

        assert peak_of(api, warm, {table: rows}) < 10

    @pytest.mark.parametrize("name", ["deleted", "updated"])
    def test_is_below_ten_bodies_over_the_limit(self, api, warm, monkeypatch, name):
        monkeypatch.setattr(response, "LARGE", 100_000)
        monkeypatch.setattr(payload, "MAX_ROWS", 50)
        rows = diary(COUNT)

        assert peak_of(api, warm, ids_of(rows) if name == "deleted" else rows, name) < 10


class TestPullPeak:
    @pytest.fixture
    def many(self, device) -> int:
        """Create many entries, delete some of them, and return their number."""
        of = ProductFactory(device=device)
        eaten = {"product": of, "grams": Decimal("70.50"), "date": date(2026, 1, 5)}
        with change_set(device):
            FoodEntry.all_objects.add_all([FoodEntry.draft(device, **eaten) for _ in range(4 * COUNT)])
            ids = list(FoodEntry.objects.for_device(device).values_list("pk", flat=True)[:COUNT])
            FoodEntry.objects.for_device(device).filter(pk__in=ids).soft_delete()
        return 4 * COUNT

    @pytest.mark.parametrize("accepted", ["gzip", ""])
    @pytest.mark.parametrize("since", [0, 1, 10**9], ids=["first", "again", "restored"])
    def test_is_a_small_part_of_the_size_of_its_rows(self, api, many, monkeypatch, since, accepted):
        """A single row takes 1,500 bytes as a dict, and 350 bytes as JSON."""
        monkeypatch.setattr(compression, "LARGE", 100_000)
        query = {"last_pulled_at": since}
        api.get("/v1/sync", query)
        tracemalloc.start()
        try:
            response = api.get("/v1/sync", query, headers={"Accept-Encoding": accepted})
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

        assert response.status_code == 200
        assert peak / many < 350, peak / many
