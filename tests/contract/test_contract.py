"""Three devices and random calls, good and bad, beside the model: every answer is what the contract says.

CONTRACT_EXAMPLES says how many histories there are: the default is the same ones at each run, more are random ones, and
a failure is then shrunk, which may take minutes.
"""

import json
import os
from collections.abc import Callable
from datetime import date, timedelta
from urllib.parse import parse_qsl, urlencode, urlsplit
from uuid import uuid4

import pytest
from django.test import Client
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from devices import models
from tests.contract.model import FIELDS, TIME, Device, Refused

FEW = 40
EXAMPLES = int(os.environ.get("CONTRACT_EXAMPLES", FEW))
NOWHERE = ["0d9c3c5e-3f2b-4c41-9b0e-6a3b6a6f2c11", "no-id"]

WHO = st.integers(0, 2)
PLACE = st.integers(0, 99)  # of a row among those that there are
ODDS = st.integers(0, 9)
NAMES = st.sampled_from(["Rye", "rye ", "  Oats", "Éclair", "ECLAIR", "Straße", "麦", "x" * 100, "100g", "%_\\"])
GRAMS = st.sampled_from([0.01, 1, 35.5, 99.995, 250, 1000, 0.30000000000000004])
QUANTITIES = st.sampled_from([0.5, 1, 2, 2.675, 1000, 0.01])
NUTRIENTS = st.sampled_from([None, 0, 0.01, 8.5, 33.335, 99.999, 100])
BARCODES = st.sampled_from([None, "96385074", "012345678905", "4006381333931", "14006381333938"])
DAYS = st.sampled_from(["2026-01-05", "2026-01-06", "2024-02-29"])
MEALS = st.sampled_from(["breakfast", "lunch", "dinner", "snacks"])
BAD = {
    "id": [7, "x", ""],
    "name": ["", "   ", "x" * 101, 5, None, "a\0b", "\ud800"],
    "kcal_100g": [-1, 1001, 2.5, "52", None, True, 10**400],
    "protein_100g": [-0.01, 100.005, "8", False],
    "barcode": ["", "4006381333932", "123", 96385074, "9638507４"],
    "grams": [0, 0.004, -1, 10**9, "70", True],
    "quantity": [0, 0.004, 1000.005, "2"],
    "is_default": [1, "true", None],
    "date": ["2026-02-30", "20260105", "2026-1-5", 5, None],
    "meal_type": ["", "brunch", "LUNCH", 1, None],
}
PRODUCT = {
    "name": NAMES,
    "kcal_100g": st.sampled_from([0, 52, 259, 1000]),
    "protein_100g": NUTRIENTS,
    "carbs_100g": NUTRIENTS,
    "fat_100g": NUTRIENTS,
    "barcode": BARCODES,
}
PORTION = {"name": NAMES, "grams": GRAMS, "is_default": st.booleans()}
BESIDE = {"unknown": st.just([1])}  # ignored, as whatever is not a field


def bodies(required: dict, optional: dict, spoilt: list[str]):
    """Return bodies with all of `required` and some of `optional`; one in six has a value that is bad, or lacks one."""
    good = st.fixed_dictionaries(required, optional=optional | BESIDE)
    spoils = st.sampled_from(spoilt).flatmap(lambda name: st.tuples(st.just(name), st.sampled_from(BAD[name])))
    missing = st.sampled_from([*required, "unknown"])
    return st.one_of(
        *[good] * 10,
        st.builds(lambda body, spoil: body | dict([spoil]), good, spoils),
        st.builds(lambda body, name: {key: value for key, value in body.items() if key != name}, good, missing),
    )


def some(fields: dict, *names: str) -> dict:
    return {name: fields[name] for name in names}


NEW_PRODUCTS = bodies(
    some(PRODUCT, "name", "kcal_100g"),
    some(PRODUCT, "protein_100g", "carbs_100g", "fat_100g", "barcode"),
    ["name", "kcal_100g", "protein_100g", "barcode"],
)
CHANGED_PRODUCTS = bodies({}, PRODUCT, ["name", "kcal_100g", "protein_100g", "barcode"])
NEW_PORTIONS = bodies(some(PORTION, "name", "grams"), some(PORTION, "is_default"), ["name", "grams", "is_default"])
CHANGED_PORTIONS = bodies({}, PORTION, ["name", "grams", "is_default"])
SPOILT = ["date", "meal_type", "grams", "quantity"]
BY_WEIGHT = bodies({"grams": GRAMS, "date": DAYS}, {"meal_type": MEALS}, SPOILT)
BY_PORTION = bodies({"date": DAYS}, {"meal_type": MEALS, "quantity": QUANTITIES}, SPOILT)
CHANGED_ENTRIES = bodies({}, {"grams": GRAMS, "quantity": QUANTITIES, "date": DAYS, "meal_type": MEALS}, SPOILT)
PAGES = st.fixed_dictionaries(
    {}, optional={"limit": st.sampled_from([1, 2, 3, 200, 0, 201]), "offset": st.sampled_from([0, 1, 4, -1])}
)


class Contract(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.taken: dict[str, set[str]] = {table: set() for table in FIELDS}
        self.dead_tokens: list[str] = []
        self.gone: list[str] = []  # ids of deleted devices
        self.known: dict[tuple[str, str], tuple[str, int]] = {}  # ETags, with the revision that they name
        self.devices = [self.registered() for _ in range(3)]
        for who in range(3):
            self.begins(who)

    # --- one call ----------------------------------------------------------------------------------

    def send(self, token: str, method: str, path: str, body=None, **headers):
        headers |= {"Authorization": f"Bearer {token}"} if token else {}
        sent = "" if body is None else json.dumps(body)
        response = Client().generic(method, f"/v1/{path}", sent, content_type="application/json", headers=headers)
        said = response.json() if response.content else None
        for detail in [said["detail"]] if response.status_code >= 400 else []:
            assert isinstance(detail, str)
            assert detail
        return response, said

    def call(self, device: Device, method: str, path: str, body, expected: Callable, **headers) -> None:
        """Make a call, and compare what is answered with what the model says: `expected(said)`."""
        response, said = self.send(device.token, method, path, body, **headers)
        self.judge(response, said, expected)

    def judge(self, response, said, expected: Callable) -> None:
        where = f"{response.wsgi_request.method} {response.wsgi_request.get_full_path()}: {said}"
        status = response.status_code
        try:
            right, body, *rest = expected(said)
        except Refused as refused:
            self.judge_refusal(status, said, refused, where)
            return
        more = rest[0] if rest else None
        assert (status, said) == (right, body), where
        next_page = parse_qsl(urlsplit(response.headers.get("Link", "").strip("<").partition(">")[0]).query)
        assert [one for one in next_page if one[0] in ("limit", "offset")] == sorted((more or {}).items()), where

    def judge_refusal(self, status: int, said: dict, right: Refused, where: str) -> None:
        assert status == right.status, where
        assert right.detail in (None, said["detail"]), where
        assert {tuple(error["loc"]) for error in said.get("errors", ())} == right.locs, f"{where}, not {right.locs}"
        assert said.keys() == ({"detail", "errors"} if status == 422 else {"detail"}), where

    def read(self, who: int, path: str, expected: Callable, again: int, query: dict | None = None) -> None:
        """Read, every other time on condition that it has changed."""
        device = self.devices[who]
        path += f"?{urlencode(query)}" if query else ""
        etag, revision = self.known.get((device.id, path), ("", 0))
        headers = {"If-None-Match": etag} if again % 2 and etag else {}
        response, said = self.send(device.token, "GET", path, **headers)
        if headers and revision == device.revision:
            assert (response.status_code, said, response["ETag"]) == (304, None, etag)
            return
        self.judge(response, said, expected)
        assert ("ETag" in response) == (response.status_code == 200)
        if response.status_code == 200:
            assert response["ETag"].startswith('W/"')
            assert (response["ETag"] == etag) == (revision == device.revision)
            self.known[device.id, path] = response["ETag"], device.revision

    # --- rows to name ------------------------------------------------------------------------------

    def some(self, who: int, table: str, odds: int, place: int) -> str:
        """Return the id of a live row of this device's, most often; else of anybody's, live or not, or of nothing."""
        mine = [row["id"] for row in self.devices[who].live(table)]
        ids = mine if odds > 1 and mine else [*sorted(self.taken[table]), *NOWHERE]
        return ids[place % len(ids)]

    def with_id(self, who: int, table: str, body: dict, odds: int, place: int) -> dict:
        """Let the service choose the id, or choose a new one, or one that is taken, or none at all."""
        if odds < 4:
            return body
        if odds < 8:
            return body | {"id": str(uuid4())}
        return body | {"id": self.some(who, table, place % 3, place) if odds == 8 else BAD["id"][place % 3]}

    # --- devices -----------------------------------------------------------------------------------

    def registered(self) -> Device:
        device_id = uuid4()
        return Device(str(device_id), models.Device.objects.register(device_id), self.taken)

    def begins(self, who: int) -> None:
        """Have a food with two portions, another food, and something eaten: most calls need a row to be about."""
        for name in ("Rye", "Oats"):
            self.keeps_a_product(who, {"name": name, "kcal_100g": 259, "protein_100g": 8.5}, odds=0, place=0)
        self.keeps_a_portion(who, {"name": "Slice", "grams": 35.5}, odds=9, place=0, choice=0)
        (slice_,) = self.devices[who].live("portions", name="Slice")
        food = {"product_id": slice_["product_id"], "portion_id": slice_["id"], "quantity": 2, "date": "2026-01-05"}
        self.logs(who, food)

    @rule(who=WHO, odds=ODDS)
    def registers_again(self, who, odds):
        if odds > 1:
            return
        for device_id in [self.devices[who].id, *self.gone[-1:]]:
            response, said = self.send("", "POST", "auth/register", {"device_id": device_id})
            assert (response.status_code, said) == (409, {"detail": "Device already registered"})

    @rule(who=WHO)
    def asks_who_it_is(self, who):
        response, said = self.send(self.devices[who].token, "GET", "devices/me")
        assert response.status_code == 200
        assert said.keys() == {"id", "created_at", "last_seen_at"}
        assert said["id"] == self.devices[who].id
        assert TIME.fullmatch(said["created_at"])

    @rule(who=WHO)
    def rotates(self, who):
        device = self.devices[who]
        response, said = self.send(device.token, "POST", "auth/rotate")
        assert (response.status_code, set(said)) == (200, {"token"})
        self.dead_tokens += [device.rotated] if device.rotated else []
        device.rotated = said["token"]

    @rule(who=WHO)
    def uses_the_new_token(self, who):
        device = self.devices[who]
        if device.rotated:
            self.dead_tokens.append(device.token)
            device.token, device.rotated = device.rotated, None
            assert self.send(device.token, "GET", "devices/me")[0].status_code == 200

    @rule(place=PLACE)
    def tries_a_token_that_is_over(self, place):
        token = [*self.dead_tokens, "nonsense"][place % (len(self.dead_tokens) + 1)]
        for method, path in (("GET", "products"), ("GET", "sync"), ("POST", "auth/rotate"), ("DELETE", "devices/me")):
            response, said = self.send(token, method, path)
            assert (response.status_code, said) == (401, {"detail": "Invalid or expired token"})

    @rule(who=WHO, odds=ODDS)
    def goes(self, who, odds):
        if odds > 1:
            return
        device = self.devices[who]
        response, said = self.send(device.token, "DELETE", "devices/me")
        assert (response.status_code, said) == (204, None)
        self.dead_tokens += [token for token in (device.token, device.rotated) if token]
        self.gone.append(device.id)
        self.devices[who] = self.registered()

    # --- products and portions ---------------------------------------------------------------------

    @rule(who=WHO, body=NEW_PRODUCTS, odds=ODDS, place=PLACE)
    def keeps_a_product(self, who, body, odds, place):
        body = self.with_id(who, "products", body, odds, place)
        device = self.devices[who]
        self.call(device, "POST", "products", body, lambda said: device.create_product(body, said))

    @rule(who=WHO, body=CHANGED_PRODUCTS, odds=ODDS, place=PLACE, method=st.sampled_from(["PUT", "PATCH"]))
    def changes_a_product(self, who, body, odds, place, method):
        row_id, device = self.some(who, "products", odds, place), self.devices[who]
        self.call(device, method, f"products/{row_id}", body, lambda said: device.change_product(row_id, body, said))

    @rule(who=WHO, odds=ODDS, place=PLACE)
    def deletes_a_product(self, who, odds, place):
        row_id, device = self.some(who, "products", odds, place), self.devices[who]
        self.call(device, "DELETE", f"products/{row_id}", None, lambda said: device.delete_product(row_id))

    @rule(who=WHO, body=NEW_PORTIONS, odds=ODDS, place=PLACE, choice=ODDS)
    def keeps_a_portion(self, who, body, odds, place, choice):
        body = self.with_id(who, "portions", body, choice, place)
        of, device = self.some(who, "products", odds, place), self.devices[who]
        path = f"products/{of}/portions"
        self.call(device, "POST", path, body, lambda said: device.create_portion(of, body, said))

    @rule(who=WHO, body=CHANGED_PORTIONS, odds=ODDS, place=PLACE, method=st.sampled_from(["PUT", "PATCH"]))
    def changes_a_portion(self, who, body, odds, place, method):
        row_id, device = self.some(who, "portions", odds, place), self.devices[who]
        self.call(device, method, f"portions/{row_id}", body, lambda said: device.change_portion(row_id, body, said))

    @rule(who=WHO, odds=ODDS, place=PLACE)
    def deletes_a_portion(self, who, odds, place):
        row_id, device = self.some(who, "portions", odds, place), self.devices[who]
        self.call(device, "DELETE", f"portions/{row_id}", None, lambda said: device.delete_portion(row_id))

    # --- food entries ------------------------------------------------------------------------------

    def food(self, who: int, odds: int, place: int) -> dict:
        """Name a portion with its product, most often; else one of another, or whatever."""
        portion_id, device = self.some(who, "portions", odds, place), self.devices[who]
        portion = device.rows["portions"].get(portion_id)
        if portion is None or odds < 4:
            return {"product_id": self.some(who, "products", odds, place), "portion_id": portion_id}
        return {"product_id": portion["product_id"], "portion_id": portion_id}

    def new_entry(self, who: int, by_weight: dict, by_portion: dict, odds: int, place: int, choice: int) -> dict:
        food = self.food(who, odds, place)
        eaten = by_portion | food if place % 2 else by_weight | {"product_id": food["product_id"]}
        return self.with_id(who, "food_entries", eaten, choice, place)

    @rule(who=WHO, by_weight=BY_WEIGHT, by_portion=BY_PORTION, odds=ODDS, place=PLACE, choice=ODDS)
    def logs_an_entry(self, who, by_weight, by_portion, odds, place, choice):
        self.logs(who, self.new_entry(who, by_weight, by_portion, odds, place, choice))

    def logs(self, who: int, body: dict) -> None:
        device = self.devices[who]
        self.call(device, "POST", "food-entries", body, lambda said: device.create_entry(body, said))

    @rule(who=WHO, eaten=st.lists(st.tuples(BY_WEIGHT, BY_PORTION, ODDS, PLACE, ODDS), min_size=1, max_size=4))
    def logs_a_batch(self, who, eaten):
        body, device = [self.new_entry(who, *one) for one in eaten], self.devices[who]
        self.call(device, "POST", "food-entries", body, lambda said: device.create_entries(body, said))

    @rule(who=WHO, body=CHANGED_ENTRIES, odds=ODDS, place=PLACE, other=PLACE, names=st.integers(0, 15))
    def changes_an_entry(self, who, body, odds, place, other, names):
        food = self.food(who, odds, other) | ({"portion_id": None} if names == 7 else {})
        named = {name: food[name] for bit, name in ((1, "product_id"), (2, "portion_id")) if names & bit}
        row_id, device, body = self.some(who, "food_entries", odds, place), self.devices[who], body | named
        path = f"food-entries/{row_id}"
        self.call(device, "PATCH", path, body, lambda said: device.change_entry(row_id, body, said))

    @rule(who=WHO, place=PLACE, meal_type=MEALS)
    def sends_back_what_it_read(self, who, place, meal_type):
        row_id, device = self.some(who, "food_entries", 9, place), self.devices[who]
        _, row = self.send(device.token, "GET", f"food-entries/{row_id}")
        body = row | {"meal_type": meal_type}
        path = f"food-entries/{row_id}"
        self.call(device, "PUT", path, body, lambda said: device.change_entry(row_id, body, said))

    @rule(who=WHO, odds=ODDS, place=PLACE)
    def deletes_an_entry(self, who, odds, place):
        row_id, device = self.some(who, "food_entries", odds, place), self.devices[who]
        self.call(device, "DELETE", f"food-entries/{row_id}", None, lambda said: device.delete_entry(row_id))

    # --- reads -------------------------------------------------------------------------------------

    @rule(who=WHO, odds=ODDS, place=PLACE, again=ODDS)
    def reads_a_row(self, who, odds, place, again):
        device = self.devices[who]
        table, path, show = [
            ("products", "products", device.shown_product),
            ("portions", "portions", device.shown_row),
            ("food_entries", "food-entries", device.shown_row),
        ][place % 3]
        row_id = self.some(who, table, odds, place)
        self.read(who, f"{path}/{row_id}", lambda said: (200, show(device.row(table, row_id), said)), again)

    SEARCHES = st.sampled_from(["rye", "É", "ss", "X", "%", "麦", "", "zz"])

    @rule(who=WHO, page=PAGES, again=ODDS, search=SEARCHES, barcode=BARCODES, place=PLACE)
    def lists_products(self, who, page, again, search, barcode, place):
        device, query = self.devices[who], page | ({"search": search} if place % 2 else {})
        query |= {"barcode": barcode} if barcode and place % 5 == 0 else {}
        self.read(who, "products", lambda said: device.list_products(query, said), again, query)

    @rule(who=WHO, page=PAGES, odds=ODDS, place=PLACE, again=ODDS)
    def lists_portions(self, who, page, odds, place, again):
        of, device = self.some(who, "products", odds, place), self.devices[who]
        self.read(who, f"products/{of}/portions", lambda said: device.list_portions(of, page, said), again, page)

    DAYS_QUERY = st.fixed_dictionaries({}, optional={"from": DAYS, "to": DAYS, "meal_type": MEALS})

    @rule(who=WHO, page=PAGES, days=st.one_of(DAYS_QUERY, st.fixed_dictionaries({"date": DAYS})), again=ODDS)
    def lists_entries(self, who, page, days, again):
        device, query = self.devices[who], page | days
        self.read(who, "food-entries", lambda said: device.list_entries(query, said), again, query)

    @rule(who=WHO, first=DAYS, length=st.sampled_from([0, 1, 2, 365, 366, -1]), again=ODDS)
    def sums_up(self, who, first, length, again):
        device, last = self.devices[who], str(date.fromisoformat(first) + timedelta(days=length))
        query = {"from": first, "to": last}
        self.read(who, "food-entries/summary", lambda said: device.summary(first, last), again, query)

    @rule(who=WHO, place=PLACE)
    def pulls(self, who, place):
        device = self.devices[who]
        since = place % (device.revision + 1)
        response, said = self.send(device.token, "GET", f"sync?last_pulled_at={since}")
        assert response.status_code == 200
        assert said["timestamp"] == device.revision
        for table, (live, deleted) in device.pulled(since).items():
            changes = said["changes"][table]
            assert changes["created"] == []
            assert {row["id"]: row for row in changes["updated"]} == live
            assert set(changes["deleted"]) == deleted

    @invariant()
    def every_product_has_one_default(self):
        for device in self.devices:
            for product in device.live("products"):
                assert len(device.live("portions", product_id=product["id"], is_default=True)) == 1

    def teardown(self):
        """Look once more at everything that there is."""
        for device in self.devices:
            for path, page in (("products", device.list_products), ("food-entries", device.list_entries)):
                query = {"limit": 200}
                self.call(device, "GET", f"{path}?limit=200", None, lambda said, p=page, q=query: p(q, said))


@pytest.mark.django_db
def test_every_answer_is_what_the_contract_says():
    run_state_machine_as_test(
        Contract,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=50,
            deadline=None,
            database=None,
            derandomize=EXAMPLES <= FEW,
            phases=[Phase.generate] + [Phase.shrink] * (EXAMPLES > FEW),
            print_blob=False,
            suppress_health_check=list(HealthCheck),
        ),
    )
