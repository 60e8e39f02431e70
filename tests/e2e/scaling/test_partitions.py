"""The unchanged service on tables with eight hash partitions by device: each query of the API uses one partition."""

import json
import re
from collections.abc import Iterator
from types import SimpleNamespace
from uuid import uuid4

import psycopg
import pytest

from deploy.scaling.partitions import partition, tables_of_devices
from tests.e2e.scaling.machines import create_migrated, settings_for
from tests.e2e.scaling.writing_phone import WritingPhone
from tests.harness.phone import Phone, Response
from tests.harness.servers import manage

PARTITIONS = 8
SCHEMAS = {f"p{number}" for number in range(PARTITIONS)}
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
REPEATED = 8  # PostgreSQL may make one plan for all values of a prepared statement from the sixth run on
LOGGED = {
    "session_preload_libraries": "auto_explain",
    "auto_explain.log_min_duration": "0",
    "auto_explain.log_format": "json",
    "auto_explain.log_verbose": "on",
    "auto_explain.log_nested_statements": "on",  # those of foreign keys
}


@pytest.fixture(scope="module")
def service(started, postgres) -> Iterator[SimpleNamespace]:
    """A copy of the service on partitioned tables. PostgreSQL logs the plans of all its queries."""
    address = create_migrated(postgres, "partitioned")
    with psycopg.connect(address) as database:
        partition(database, PARTITIONS)
        tables = tables_of_devices(database)
    manage(settings_for(address), "after_restore", "--without-ledger")  # so that devices have gaps too
    for name, value in LOGGED.items():
        postgres.run(f"ALTER DATABASE partitioned SET {name} = '{value}'")
    copy = started.copy("partitioned", address, WEB_CONCURRENCY="1", GUNICORN_CMD_ARGS="--threads=1")
    log = postgres.data.parent / "server.json"
    return SimpleNamespace(copy=copy, address=address, postgres=postgres, log=log, tables=tables)


class Caller(WritingPhone):
    """A phone that records the method and the path of each call."""

    def __init__(self, port: int, called: set):
        self.called = called
        super().__init__(port)

    def send(self, method: str, path: str, *body_and_headers) -> Response:
        self.called.add((method, UUID.sub("{}", path.partition("?")[0])))
        return super().send(method, path, *body_and_headers)

    def call(self, method: str, path: str, body: object = None, status: int = 200) -> object:
        response = self.send(method, path, body)
        assert response.status_code == status, (method, path, response)
        return response.json() if response.content else None


def call_everything(phone: Caller) -> None:
    """Make every call of the API for rows, and some that fail."""
    product, portion, entry, other = (str(uuid4()) for _ in range(4))
    rye = {"id": product, "name": "Rye bread", "kcal_100g": 259, "barcode": "4006381333931"}
    for status in (201, 200):
        phone.call("POST", "/v1/products", rye, status)
    phone.call("POST", "/v1/products", rye | {"id": other}, 409)  # the barcode
    phone.call("POST", "/v1/products", rye | {"id": other, "barcode": None}, 201)
    phone.call("GET", "/v1/products?search=rye")
    phone.call("GET", "/v1/products?barcode=4006381333931")
    phone.call("GET", f"/v1/products/{product}")
    phone.call("PUT", f"/v1/products/{product}", {"kcal_100g": 260})
    phone.call("PATCH", f"/v1/products/{product}", {"kcal_100g": 261})
    phone.call("POST", f"/v1/products/{product}/portions", {"id": portion, "name": "Slice", "grams": 35}, 201)
    phone.call("GET", f"/v1/products/{product}/portions")
    phone.call("GET", f"/v1/portions/{portion}")
    phone.call("PUT", f"/v1/portions/{portion}", {"is_default": True})
    phone.call("PATCH", f"/v1/portions/{portion}", {"grams": 36})
    eaten = {"product_id": product, "date": "2026-01-05"}
    phone.call("POST", "/v1/food-entries", {"id": entry, "portion_id": portion, "quantity": 2, **eaten}, 201)
    phone.call("POST", "/v1/food-entries/batch", [{"grams": 70, **eaten} for _ in range(3)], 201)
    phone.call("GET", "/v1/food-entries?date=2026-01-05")
    phone.call("GET", f"/v1/food-entries/{entry}")
    phone.call("PUT", f"/v1/food-entries/{entry}", {"quantity": 3})
    phone.call("PATCH", f"/v1/food-entries/{entry}", {"product_id": other, "grams": 70})
    phone.call("GET", "/v1/food-entries/summary?from=2026-01-01&to=2026-01-31")
    sync_everything(phone)
    for path in (f"/v1/portions/{portion}", f"/v1/food-entries/{entry}", f"/v1/products/{product}"):
        phone.call("DELETE", path, status=204)
        phone.call("POST", f"{path}/restore")
        phone.call("DELETE", path, status=204)
    phone.pull()


def sync_everything(phone: Caller) -> None:
    """Push new rows, changed rows and deletions, and a change that is in conflict."""
    phone.sync()
    whole = phone.pull(since=0)
    rows = {name: changes["updated"] for name, changes in whole["changes"].items()}
    changed = {name: {"updated": [row | {"grams": 5} for row in rows[name]]} for name in ("portions", "food_entries")}
    changed["products"] = {"updated": [row | {"name": "Bread", "barcode": None} for row in rows["products"]]}
    content = phone.call("POST", f"/v1/sync?last_pulled_at={whole['timestamp']}", changed)
    assert content["rejected"] == []
    deletion = {"products": {"deleted": [rows["products"][0]["id"]]}}
    phone.call("POST", f"/v1/sync?last_pulled_at={whole['timestamp']}", deletion, 409)
    whole = phone.pull()
    phone.call("POST", f"/v1/sync?last_pulled_at={whole['timestamp']}", {"products": {"deleted": [phone.last]}})


@pytest.fixture(scope="module")
def called(service) -> set[tuple[str, str]]:
    """The calls that several phones have made. There are several, so that several partitions have rows."""
    called = set()
    for number in range(REPEATED):
        with Caller(service.copy.port, called) as phone:
            service.postgres.run("UPDATE devices SET last_seen_at = now() - interval '1 day'", database="partitioned")
            call_everything(phone)
            phone.token = phone.call("POST", "/v1/auth/rotate")["token"]
            phone.call("GET", "/v1/devices/me")
            if number == 0:
                erasure = uuid4()
                phone.call("DELETE", f"/v1/devices/me?erasure_id={erasure}", status=204)
                phone.call("GET", f"/v1/erasures/{erasure}")
    return called


@pytest.fixture(scope="module")
def plans(service, called) -> list[dict]:
    """The plans of all statements of the service, and of the statements by which PostgreSQL checks foreign keys."""
    lines = map(json.loads, service.log.read_text().splitlines())
    ours = [line["message"] for line in lines if (line.get("dbname"), line.get("user")) == ("partitioned", "countonme")]
    return [json.loads(text.partition("plan:\n")[2]) for text in ours if "plan:\n" in text]


def nodes(plan: dict) -> Iterator[dict]:
    yield plan
    for below in plan.get("Plans", ()):
        yield from nodes(below)


def partitions_in(plan: dict) -> set[str]:
    """Return the partitions that a plan uses."""
    return {node["Schema"] for node in nodes(plan["Plan"]) if node.get("Schema") in SCHEMAS}


class TestEachQuery:
    def test_comes_from_all_calls_of_the_api(self, service, called):
        document = Phone(service.copy.port).get("/v1/schema").json()
        calls = {
            (method.upper(), re.sub("{.+?}", "{}", path))
            for path, methods in document["paths"].items()
            for method in methods
            if path.startswith("/v1/") and not path.startswith("/v1/catalog/")  # which has no rows of devices
        }

        assert len(calls) > 20
        assert calls - called == {("GET", "/v1/schema")}  # sends no query

    def test_uses_one_partition(self, plans):
        several = {plan["Query Text"]: sorted(partitions_in(plan)) for plan in plans if len(partitions_in(plan)) > 1}

        assert several == {}
        assert len(set().union(*map(partitions_in, plans))) > 2  # the phones are in several partitions
        assert len([plan for plan in plans if partitions_in(plan)]) > 400

    def test_stores_all_rows_of_a_device_in_one_partition(self, service, called):
        places = " UNION ".join(
            f"SELECT {key} AS device, tableoid::regclass::text FROM {table}" for table, key in service.tables.items()
        )
        rows = service.postgres.run(
            f"SELECT device, array_agg(tableoid) FROM ({places}) AS row GROUP BY device", database="partitioned"
        )

        assert len(rows) == REPEATED
        assert {"devices", "food_entries"} < service.tables.keys()
        assert max(len(tables) for _, tables in rows) == len(service.tables)
        assert {len({name.partition(".")[0] for name in tables}) for _, tables in rows} == {1}


class TestTheRest:
    def test_uses_all_partitions(self, service, called):
        manage(settings_for(service.address), "erase")
        manage(settings_for(service.address), "purge_tombstones", "--older-than", "0d", "--commit")

        assert (
            service.postgres.run("SELECT id FROM food_entries WHERE deleted_at < now()", database="partitioned") == []
        )

    def test_allows_the_same_id_for_two_devices(self, service):
        row = {"id": str(uuid4()), "name": "Rye bread", "kcal_100g": 259}
        with Caller(service.copy.port, set()) as one, Caller(service.copy.port, set()) as other:
            for phone, kcal in ((one, 1), (other, 2)):
                phone.call("POST", "/v1/products", row | {"kcal_100g": kcal}, 201)

            assert one.call("GET", f"/v1/products/{row['id']}")["kcal_100g"] == 1
            assert other.call("GET", f"/v1/products/{row['id']}")["kcal_100g"] == 2
