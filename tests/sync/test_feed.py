"""How a pull is read and written: in chunks, from one snapshot, and not sent before the transaction has ended."""

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
from tests.harness.sync import entry, portion, product, pulled, pushed, revision

own_transactions = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch):
    monkeypatch.setattr(feed, "CHUNK", 2)


@pytest.fixture
def diary(api) -> int:
    """Seven products, each with a portion and an entry; three of the products are deleted. Returns the revision."""
    products = [product(name=f"Food {number}") for number in range(7)]
    portions = [portion(of, is_default=True) for of in products]
    entries = [entry(of) for of in products]
    pushed(api, products={"created": products}, portions={"created": portions}, food_entries={"created": entries})
    pushed(api, revision(api), products={"deleted": [row["id"] for row in products[:3]]})
    return revision(api)


def answer_of(device, since: int = 0, **kwargs) -> tuple[int, dict]:
    """Return the number of rows of a pull, and what it says."""
    body = Body(gzip=False)
    count = pull(device, since, (), body, **kwargs)
    return count, json.loads(body.response("application/json").getvalue())


def rows_of(answer: dict) -> int:
    return sum(len(rows) for lists in answer["changes"].values() for rows in lists.values())


def in_another_connection(call):
    """Return what the call returns, made by a thread of its own."""
    (result,) = at_once(call)
    return result


class TestChunks:
    @pytest.mark.parametrize("since", [0, 1, 2, 10**9], ids=["first", "all", "deletions", "restored"])
    def test_make_the_same_answer_as_one_list(self, api, device, diary, monkeypatch, since):
        in_chunks = answer_of(device, since)
        monkeypatch.setattr(feed, "CHUNK", 1000)

        assert answer_of(device, since) == in_chunks
        assert in_chunks[0] == rows_of(in_chunks[1]) > 5

    @pytest.mark.parametrize("query", ["", "?last_pulled_at=1", "?last_pulled_at=999999"])
    @pytest.mark.parametrize("large", [1, 10**9])
    def test_make_the_same_bytes_for_every_client(self, api, diary, monkeypatch, query, large):
        monkeypatch.setattr(compression, "LARGE", large)
        path = f"/v1/sync{query}"

        plain = api.get(path)
        compressed = api.get(path, headers={"Accept-Encoding": "gzip"})
        declined = api.get(path, headers={"Accept-Encoding": "gzip;q=0"})

        sent = plain.getvalue()  # once, if it is streamed
        assert sent == declined.getvalue() == gzip.decompress(compressed.getvalue())
        assert int(plain["Content-Length"]) == len(sent)
        assert [one.get("Content-Encoding") for one in (plain, declined, compressed)] == [None, None, "gzip"]
        for response in (plain, declined, compressed):
            assert {"Authorization", "Accept-Encoding"} <= set(response["Vary"].split(", "))
            assert response["ETag"] == plain["ETag"]
            assert api.get(path, headers={"If-None-Match": response["ETag"]}).status_code == 304

    @pytest.mark.parametrize("large", [1, 10**9])
    @pytest.mark.parametrize("accepted", ["", "gzip"])
    def test_are_not_sent_to_a_head_request(self, api, diary, monkeypatch, large, accepted):
        monkeypatch.setattr(compression, "LARGE", large)

        got, head = (call("/v1/sync", headers={"Accept-Encoding": accepted}) for call in (api.get, api.head))

        assert head.getvalue() == b""
        for header in ("Content-Length", "Content-Type", "Content-Encoding", "ETag", "Vary"):
            assert head.get(header) == got.get(header)


class TestALargePull:
    def test_calls_its_hook_once(self, device, diary, monkeypatch):
        monkeypatch.setattr(feed, "LARGE", 4)
        calls = []

        answer = answer_of(device, on_large=lambda: calls.append(1))

        assert calls == [1]
        assert answer == answer_of(device)

    def test_is_one_of_more_rows_than_that(self, device, diary, monkeypatch):
        count, _ = answer_of(device)
        calls = []
        for large in (count - 1, count):
            monkeypatch.setattr(feed, "LARGE", large)
            answer_of(device, on_large=lambda large=large: calls.append(large))

        assert calls == [count - 1]

    @own_transactions
    def test_ends_when_its_hook_raises(self, device, diary, monkeypatch):
        monkeypatch.setattr(feed, "LARGE", 2)
        open_cursors = []

        def refuse():
            open_cursors.append(cursors())
            raise Throttled

        with pytest.raises(Throttled):
            answer_of(device, on_large=refuse)

        assert not connection.in_atomic_block
        assert cursors() == 0
        assert open_cursors == [1 if connection.vendor == "postgresql" else 0]

    @own_transactions
    def test_closes_each_cursor_before_the_next_table(self, device, diary, monkeypatch):
        monkeypatch.setattr(feed, "LARGE", 10)  # passed by the second chunk of the last table
        open_cursors = []

        answer_of(device, on_large=lambda: open_cursors.append(cursors()))

        assert open_cursors == [1 if connection.vendor == "postgresql" else 0]


def cursors() -> int:
    """Return how many server-side cursors are open."""
    if connection.vendor != "postgresql":
        return 0
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_cursors WHERE name LIKE '_django_curs%%'")
        return cursor.fetchone()[0]


class TestItsTransaction:
    @pytest.mark.postgres
    @own_transactions
    @pytest.mark.parametrize("since", [0, 1, 10**9])
    def test_sees_nothing_of_what_is_written_while_it_reads(self, api, device, diary, monkeypatch, since):
        monkeypatch.setattr(feed, "LARGE", 2)
        before, written = answer_of(device, since), []

        def write():
            phone, row = type(api)(api.token), product()
            new = {"portions": {"created": [portion(row, is_default=True)]}, "food_entries": {"created": [entry(row)]}}
            old = before[1]["changes"]["products"]["updated"][-1]["id"]
            tables = {"products": {"created": [row], "deleted": [old]}, **new}
            written.append(in_another_connection(lambda: pushed(phone, diary, **tables)))

        during = answer_of(device, since, on_large=write)

        assert during == before
        assert len(written) == 1
        assert answer_of(device, since) != before

    @own_transactions
    def test_has_ended_when_the_response_is_made(self, api, diary, monkeypatch):
        made, response = [], Body.response

        def noted(*args):
            made.append(connection.in_atomic_block)
            return response(*args)

        monkeypatch.setattr(Body, "response", noted)

        assert rows_of(pulled(api)) > 2
        assert made == [False]

    @pytest.mark.postgres
    @pytest.mark.direct
    @own_transactions
    def test_gets_503_if_the_database_dies_half_way(self, api, diary):
        def die_before_portions(execute, sql, *args):
            if 'FROM "portions"' in sql:
                here = connection.connection.info.backend_pid
                with psycopg.connect(**connection.get_connection_params()) as other:
                    other.execute("SELECT pg_terminate_backend(%s, 5000)", [here])
            return execute(sql, *args)

        with connection.execute_wrapper(die_before_portions):
            response = api.get("/v1/sync", headers={"Accept-Encoding": "gzip"})

        assert response.status_code == 503
        assert response.json() == {"detail": "Service unavailable"}
        connection.close()  # as at the end of a request
        assert rows_of(pulled(api)) > 2

    def test_keeps_the_transaction_mode(self, device, diary, monkeypatch):
        before = getattr(connection, "transaction_mode", None)

        answer_of(device)

        assert getattr(connection, "transaction_mode", None) == before


@pytest.mark.direct
def test_a_pull_and_a_writer_on_sqlite_do_not_wait_for_each_other(live_url, tmp_path):
    """The writer holds the lock for longer than a request waits for it."""
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

        answer = pulled(service.phone)
        writer.execute("COMMIT")

        assert answer["changes"]["products"]["updated"][0]["name"] == product()["name"]
        assert pulled(service.phone, since=1)["changes"]["products"]["updated"][0]["name"] == "Not yet"
