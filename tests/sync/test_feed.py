"""Pull: rows are read in chunks from one snapshot, and sent after the end of the transaction."""

import gzip
import json
import sqlite3
from contextlib import closing

import psycopg
import pytest
from django.db import connection
from rest_framework.exceptions import Throttled

from countonme.api import compression
from countonme.api.compression import Body
from sync import feed
from sync.feed import pull
from tests.harness.at_once import at_once
from tests.harness.service import serve
from tests.harness.sync import entry, portion, product, pull_changes, push_ok, revision

own_transactions = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch):
    monkeypatch.setattr(feed, "CHUNK", 2)


@pytest.fixture
def diary(api) -> int:
    """Create seven products with a portion and an entry each, and delete three of them. Return the revision."""
    products = [product(name=f"Food {number}") for number in range(7)]
    portions = [portion(of, is_default=True) for of in products]
    entries = [entry(of) for of in products]
    push_ok(api, products={"created": products}, portions={"created": portions}, food_entries={"created": entries})
    push_ok(api, revision(api), products={"deleted": [row["id"] for row in products[:3]]})
    return revision(api)


def run_pull(device, since: int = 0, **kwargs) -> tuple[int, dict]:
    """Return the number of rows of a pull, and the parsed response."""
    body = Body(gzip=False)
    count = pull(device, since, (), body, **kwargs)
    return count, json.loads(body.response("application/json").getvalue())


def count_rows(answer: dict) -> int:
    return sum(len(rows) for lists in answer["changes"].values() for rows in lists.values())


def run_in_another_thread(call):
    """Call the function in another thread, and so with another connection. Return its result."""
    (result,) = at_once(call)
    return result


class TestChunks:
    @pytest.mark.parametrize("since", [0, 1, 2, 10**9], ids=["first", "all", "deletions", "restored"])
    def test_have_the_same_content_as_a_single_chunk(self, api, device, diary, monkeypatch, since):
        in_chunks = run_pull(device, since)
        monkeypatch.setattr(feed, "CHUNK", 1000)

        assert run_pull(device, since) == in_chunks
        assert in_chunks[0] == count_rows(in_chunks[1]) > 5

    @pytest.mark.parametrize("query", ["", "?last_pulled_at=1", "?last_pulled_at=999999"])
    @pytest.mark.parametrize("large", [1, 10**9])
    def test_have_the_same_bytes_with_and_without_gzip(self, api, diary, monkeypatch, query, large):
        monkeypatch.setattr(compression, "LARGE", large)
        path = f"/v1/sync{query}"

        plain = api.get(path)
        compressed = api.get(path, headers={"Accept-Encoding": "gzip"})
        declined = api.get(path, headers={"Accept-Encoding": "gzip;q=0"})

        sent = plain.getvalue()  # a streamed response can be read only once
        assert sent == declined.getvalue() == gzip.decompress(compressed.getvalue())
        assert int(plain["Content-Length"]) == len(sent)
        assert [one.get("Content-Encoding") for one in (plain, declined, compressed)] == [None, None, "gzip"]
        for response in (plain, declined, compressed):
            assert {"Authorization", "Accept-Encoding"} <= set(response["Vary"].split(", "))
            assert response["ETag"] == plain["ETag"]
            assert api.get(path, headers={"If-None-Match": response["ETag"]}).status_code == 304

    @pytest.mark.parametrize("large", [1, 10**9])
    @pytest.mark.parametrize("accepted", ["", "gzip"])
    def test_are_not_sent_in_response_to_head(self, api, diary, monkeypatch, large, accepted):
        monkeypatch.setattr(compression, "LARGE", large)

        got, head = (call("/v1/sync", headers={"Accept-Encoding": accepted}) for call in (api.get, api.head))

        assert head.getvalue() == b""
        for header in ("Content-Length", "Content-Type", "Content-Encoding", "ETag", "Vary"):
            assert head.get(header) == got.get(header)


class TestLargePull:
    def test_calls_on_large_once(self, device, diary, monkeypatch):
        monkeypatch.setattr(feed, "LARGE", 4)
        calls = []

        answer = run_pull(device, on_large=lambda: calls.append(1))

        assert calls == [1]
        assert answer == run_pull(device)

    def test_has_more_than_large_rows(self, device, diary, monkeypatch):
        count, _ = run_pull(device)
        calls = []
        for large in (count - 1, count):
            monkeypatch.setattr(feed, "LARGE", large)
            run_pull(device, on_large=lambda large=large: calls.append(large))

        assert calls == [count - 1]

    @own_transactions
    def test_ends_if_on_large_raises(self, device, diary, monkeypatch):
        monkeypatch.setattr(feed, "LARGE", 2)
        open_cursors = []

        def refuse():
            open_cursors.append(count_cursors())
            raise Throttled

        with pytest.raises(Throttled):
            run_pull(device, on_large=refuse)

        assert not connection.in_atomic_block
        assert count_cursors() == 0
        assert open_cursors == [1 if connection.vendor == "postgresql" else 0]

    @own_transactions
    def test_closes_each_cursor_before_the_next_table(self, device, diary, monkeypatch):
        monkeypatch.setattr(feed, "LARGE", 10)  # exceeded by the second chunk of the last table
        open_cursors = []

        run_pull(device, on_large=lambda: open_cursors.append(count_cursors()))

        assert open_cursors == [1 if connection.vendor == "postgresql" else 0]


def count_cursors() -> int:
    """Return the number of open server-side cursors."""
    if connection.vendor != "postgresql":
        return 0
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_cursors WHERE name LIKE '_django_curs%%'")
        return cursor.fetchone()[0]


class TestTransaction:
    @pytest.mark.postgres
    @own_transactions
    @pytest.mark.parametrize("since", [0, 1, 10**9])
    def test_does_not_see_concurrent_writes(self, api, device, diary, monkeypatch, since):
        monkeypatch.setattr(feed, "LARGE", 2)
        before, written = run_pull(device, since), []

        def write():
            phone, row = type(api)(api.token), product()
            new = {"portions": {"created": [portion(row, is_default=True)]}, "food_entries": {"created": [entry(row)]}}
            old = before[1]["changes"]["products"]["updated"][-1]["id"]
            tables = {"products": {"created": [row], "deleted": [old]}, **new}
            written.append(run_in_another_thread(lambda: push_ok(phone, diary, **tables)))

        during = run_pull(device, since, on_large=write)

        assert during == before
        assert len(written) == 1
        assert run_pull(device, since) != before

    @own_transactions
    def test_has_ended_before_the_response_is_created(self, api, diary, monkeypatch):
        in_transaction, response = [], Body.response

        def record_transaction(*args):
            in_transaction.append(connection.in_atomic_block)
            return response(*args)

        monkeypatch.setattr(Body, "response", record_transaction)

        assert count_rows(pull_changes(api)) > 2
        assert in_transaction == [False]

    @pytest.mark.postgres
    @pytest.mark.direct
    @own_transactions
    def test_returns_503_if_the_database_connection_dies(self, api, diary):
        def kill_before_portions(execute, sql, *args):
            if 'FROM "portions"' in sql:
                here = connection.connection.info.backend_pid
                with psycopg.connect(**connection.get_connection_params()) as other:
                    other.execute("SELECT pg_terminate_backend(%s, 5000)", [here])
            return execute(sql, *args)

        with connection.execute_wrapper(kill_before_portions):
            response = api.get("/v1/sync", headers={"Accept-Encoding": "gzip"})

        assert response.status_code == 503
        assert response.json() == {"detail": "Service unavailable"}
        connection.close()  # as Django does at the end of a request
        assert count_rows(pull_changes(api)) > 2

    def test_restores_the_transaction_mode(self, device, diary, monkeypatch):
        before = getattr(connection, "transaction_mode", None)

        run_pull(device)

        assert getattr(connection, "transaction_mode", None) == before


@pytest.mark.direct
def test_pull_and_writer_do_not_block_each_other_on_sqlite(live_url, tmp_path):
    """The writer holds its lock during the whole pull."""
    if connection.vendor != "sqlite":
        pytest.skip("PostgreSQL locks rows, not the file")
    with (
        serve(live_url, tmp_path / "log") as service,
        closing(sqlite3.connect(live_url.removeprefix("sqlite:///"), isolation_level=None)) as writer,
    ):
        service.register()
        assert service.phone.post("/v1/products", product()).status_code == 201
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("UPDATE products SET name = 'Not yet'")

        answer = pull_changes(service.phone)
        writer.execute("COMMIT")

        assert answer["changes"]["products"]["updated"][0]["name"] == product()["name"]
        assert pull_changes(service.phone, since=1)["changes"]["products"]["updated"][0]["name"] == "Not yet"
