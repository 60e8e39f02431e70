"""Races of pushes, pulls and other calls, each with its own connection: no writes are lost or partly visible."""

from collections.abc import Callable
from copy import copy

import pytest
from django.core.management import call_command

from ownership.models import owned_models
from products.models import Product
from sync.registry import tables
from tests.harness.at_once import at_once, call, statuses
from tests.harness.sync import ALL_STORED, entry, live_rows, portion, product, pull_changes, push_ok, revision

pytestmark = [
    pytest.mark.postgres,
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("separate_workers"),
]

ROUNDS = 5  # the order of the calls is random
MANY = 1500


def push_call(phone, since: int, **changes) -> Callable:
    """Return a push for `at_once()`."""
    return call(phone, "POST", f"/v1/sync?last_pulled_at={since}", changes)


def product_with_children(name="Rye") -> dict:
    """Return the changes of a push: a product, its default portion and ten entries."""
    row = product(name=name)
    part = portion(row, is_default=True)
    return {
        "products": {"created": [row]},
        "portions": {"created": [part]},
        "food_entries": {"created": [entry(row, portion_id=part["id"], quantity=2) for _ in range(10)]},
    }


class TestPushesOfOneDevice:
    def test_store_equal_changes_once(self, api, device):
        for _ in range(ROUNDS):
            since, changes = revision(api), product_with_children()

            responses = at_once(*(push_call(api, since, **changes) for _ in range(6)))

            assert statuses(responses) == {200: 6}
            assert [response.json() for response in responses] == [ALL_STORED] * 6
            assert revision(api) == since + 1

    def test_conflict_if_they_change_the_same_row(self, api):
        row = product()
        push_ok(api, products={"created": [row]})
        for turn in range(ROUNDS):
            since = revision(api)
            versions = [row | {"name": f"{turn} {number}"} for number in range(6)]

            responses = at_once(*(push_call(api, since, products={"updated": [version]}) for version in versions))

            assert statuses(responses) == {200: 1, 409: 5}
            (winner,) = [number for number, response in enumerate(responses) if response.status_code == 200]
            assert live_rows(api, "products")[row["id"]]["name"] == versions[winner]["name"]
            assert revision(api) == since + 1

    def test_and_rest_writes_are_all_stored(self, api):
        since = revision(api)
        pushes = [push_call(api, since, **product_with_children(f"Pushed {number}")) for number in range(4)]
        bodies = [{"name": f"Posted {number}", "kcal_100g": 1} for number in range(4)]

        responses = at_once(*pushes, *(call(api, "POST", "/v1/products", body) for body in bodies))

        assert statuses(responses) == {200: 4, 201: 4}
        assert revision(api) == since + 8
        assert len(live_rows(api, "products")) == 8
        assert len(live_rows(api, "food_entries")) == 40

    def test_leave_one_default_portion(self, api):
        row = product()
        push_ok(api, products={"created": [row]})
        for _ in range(ROUNDS):
            since = revision(api)
            portions = [portion(row, name=f"Portion {number}", is_default=True) for number in range(5)]

            responses = at_once(*(push_call(api, since, portions={"created": [new]}) for new in portions))

            assert statuses(responses) == {200: 5}
            assert sum(each["is_default"] for each in live_rows(api, "portions").values()) == 1

    def test_give_a_barcode_to_one_product(self, api):
        for _ in range(ROUNDS):
            since = revision(api)
            rows = [product(barcode="4006381333931") for _ in range(5)]

            responses = at_once(*(push_call(api, since, products={"created": [row]}) for row in rows))

            assert statuses(responses) == {200: 5}
            assert sorted(len(response.json()["rejected"]) for response in responses) == [0, 1, 1, 1, 1]
            (holder,) = live_rows(api, "products")
            push_ok(api, revision(api), products={"deleted": [holder]})


class TestPushesOfTwoDevicesWithTheSameIds:
    def test_store_each_id_once_and_reject_it_for_the_other(self, api, other_api):
        """Many rows in opposite orders, so that both pushes are still inserting when their ids collide."""
        for _ in range(ROUNDS):
            rows = [product() for _ in range(MANY)]

            responses = at_once(
                push_call(api, revision(api), products={"created": rows}),
                push_call(other_api, revision(other_api), products={"created": rows[::-1]}),
            )

            ids = {row["id"] for row in rows}
            stored = [ids & live_rows(phone, "products").keys() for phone in (api, other_api)]
            refused = [set(response.json()["experimentalRejectedIds"].get("products", ())) for response in responses]
            assert statuses(responses) == {200: 2}
            assert sorted(map(len, stored)) == [0, MANY]
            assert refused == [ids - stored_by_one for stored_by_one in stored]

    def test_do_not_deadlock_in_any_table(self, api, other_api):
        for _ in range(ROUNDS):
            changes = product_with_children()

            responses = at_once(*(push_call(phone, revision(phone), **changes) for phone in (api, other_api)))

            assert statuses(responses) == {200: 2}
            assert sorted(len(response.json()["rejected"]) for response in responses) == [0, 12]


class TestPull:
    def test_returns_a_consistent_snapshot(self, api):
        """Each push stores a product with its portion and its entries. A pull returns all of them or none."""

        def pull_repeatedly() -> list[dict]:
            phone = copy(api)
            return [pull_changes(phone) for _ in range(8)]

        pushes = [push_call(api, 1, **product_with_children(f"Rye {number}")) for number in range(4)]

        responses = at_once(*pushes, *[pull_repeatedly] * 4)

        assert statuses(responses[:4]) == {200: 4}
        for pull in (pull for pulls in responses[4:] for pull in pulls):
            rows = {name: changes["updated"] for name, changes in pull["changes"].items()}
            products = {row["id"] for row in rows["products"]}
            assert len(products) == pull["timestamp"] - 1
            assert [len(rows[table.name]) for table in tables()] == [len(products), len(products), 10 * len(products)]
            assert {row["product_id"] for row in rows["portions"] + rows["food_entries"]} == products

    def test_misses_no_row_that_was_pushed_meanwhile(self, api):
        """A client that pulls during the pushes has all rows after one more pull."""
        entries = {}

        def pull_since(phone, cursor: int) -> int:
            """Pull once, add the rows to `entries`, and return the next cursor."""
            pull = pull_changes(phone, cursor)
            assert pull.keys() == {"changes", "timestamp"}
            entries.update({row["id"]: row for row in pull["changes"]["food_entries"]["updated"]})
            return pull["timestamp"]

        def pull_repeatedly() -> int:
            phone, cursor = copy(api), 0
            for _ in range(15):
                cursor = pull_since(phone, cursor)
            return cursor

        pushes = [push_call(api, 1, **product_with_children(f"Rye {number}")) for number in range(6)]

        *responses, cursor = at_once(*pushes, pull_repeatedly)

        assert statuses(responses) == {200: 6}
        pull_since(api, cursor)
        assert entries == live_rows(api, "food_entries")
        assert len(entries) == 60


class TestDeviceDeletion:
    def test_and_concurrent_pushes_leave_no_rows_after_the_erasure(self, api, device):
        deleted, *responses = at_once(
            call(api, "DELETE", "/v1/devices/me"),
            *(push_call(api, 1, **product_with_children()) for _ in range(4)),
        )

        assert deleted.status_code == 204
        assert statuses(responses).keys() <= {200, 401}
        assert api.get("/v1/sync").status_code == 401
        call_command("erase")
        for model in owned_models():
            assert not model.all_objects.for_device(device).exists()


class TestTokenRotation:
    def test_loses_no_concurrent_push(self, api):
        rotated, *responses = at_once(
            call(api, "POST", "/v1/auth/rotate"),
            *(push_call(api, 1, **product_with_children()) for _ in range(4)),
        )

        api.use(rotated.json()["token"])
        assert statuses(responses) == {200: 4}
        assert len(live_rows(api, "products")) == 4


class TestPurge:
    def test_and_a_push_leave_no_child_without_its_parent(self, api, device):
        """Either the purge removes the product's tombstone, or the new entry is stored and keeps it."""

        def purge() -> None:
            call_command("purge_tombstones", "--older-than", "0d", "--commit", verbosity=0)

        for _ in range(ROUNDS):
            row = product()
            push_ok(api, revision(api), products={"created": [row]})
            push_ok(api, revision(api), products={"deleted": [row["id"]]})
            new = entry(row)

            response, _ = at_once(push_call(api, revision(api), food_entries={"created": [new]}), purge)

            kept = Product.all_objects.for_device(device).filter(pk=row["id"])
            assert response.status_code == 200
            assert kept.exists() == (new["id"] in live_rows(api, "food_entries"))
            assert (response.json() == ALL_STORED) == kept.exists()
