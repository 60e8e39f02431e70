"""Linearisability: each pair of concurrent calls has the same outcome as the two calls in one order or the other.

The outcome of two concurrent calls is both responses and everything that is stored afterwards. No pair may have an
outcome that no order has, such as a product without a default portion, a lost change, or a revision used twice.

There is no list of correct outcomes. The test makes the two calls one after the other, in both orders, each time on a
new device in the same state. Then it makes them concurrently, and expects one of the serial outcomes.

The concurrent calls always meet the worst case: the test holds the lock of the device's row until each call waits for
it, or has returned without it. Then it releases the lock. By then the calls have read all that they read before the
lock, and they get the lock in the order in which they started.

How to read a failure: `outcome` is that of the concurrent calls, `serial` has those of the two orders. An outcome has
four parts: the responses; the rows of all tables; the device; and the status that each token gets afterwards. Compare
the responses first, to see which order the calls took. Then look for the differences from the outcome of that order.
Ids are replaced with labels, revisions count from the device's initial state, and times are left out. To repeat one
call with all others and see full outcomes, run `pytest -vv tests/sync/test_pairs.py -k edit_product` on PostgreSQL.

To add a call, write a function that takes a scenario and a phone, and add it to CALLS.
"""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import date
from decimal import Decimal
from threading import Barrier
from uuid import UUID, uuid4

import pytest
from django.db import connection, connections, transaction
from django.utils import timezone

from countonme.api.fields import parse_uuid
from devices.models import Device
from food_entries.models import FoodEntry
from ownership.models import change_set, owned_models
from products.models import Portion, Product
from sync.purge import purge_device
from tests.harness.client import DeviceClient
from tests.harness.sync import entry, portion, product, push

pytestmark = [
    pytest.mark.postgres,
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("separate_workers"),
]

BARCODE = "96385074"
LEFT_OUT = {"created_at", "updated_at", "last_seen_at", "deleted_at", "token", "token_hash", "next_token_hash"}
REVISIONS = {"revision", "timestamp", "purged_through"}
TIMEOUT = 20  # seconds

HANDLER = DeviceClient("").handler


def phone_with(token: str) -> DeviceClient:
    """Return a phone that shares its middleware with all others, because loading it is slow."""
    phone = DeviceClient(token)
    phone.handler = HANDLER
    return phone


class Scenario:
    """A device with a product of three portions and an entry, and with a deleted product, portion and entry.

    Rows have labels, by which the outcomes of two scenarios can be compared.
    """

    def __init__(self):
        self.token = Device.objects.register(uuid4())
        self.device = Device.objects.get(pk=self.token.partition(".")[0])
        self.labels: dict[UUID, str] = {self.device.pk: "device"}
        with change_set(self.device):
            rye = Product.objects.add(self.device, id=self.id("rye"), name="Rye", kcal_100g=250)
            Product.objects.add(self.device, id=self.id("gone"), name="Gone", kcal_100g=1, barcode=BARCODE)
            for name in ("slice", "loaf", "gone slice"):
                Portion.objects.add(rye, id=self.id(name), name=name, grams=Decimal(40))
            by_slice = Portion.objects.for_device(self.device).get(name="slice")
            amount = {"portion": by_slice, "quantity": Decimal(2), "grams": Decimal(80)}
            for name in ("entry", "gone entry"):
                FoodEntry.draft(self.device, id=self.id(name), product=rye, date=date(2026, 1, 5), **amount).save()
        for model, name in ((FoodEntry, "gone entry"), (Portion, "gone slice"), (Product, "gone")):
            with change_set(self.device):
                model.objects.for_device(self.device).get(pk=self.id(name)).soft_delete()
        self.labels[rye.portions.get(is_default=True).pk] = "100g"
        self.device.refresh_from_db()
        self.start, self.ready_at = self.device.revision, timezone.now()

    def id(self, label: str) -> str:
        """Return the id of the row with this label; a new label gets a new id."""
        ids = {name: row_id for row_id, name in self.labels.items()}
        if label not in ids:
            ids[label] = uuid4()
            self.labels[ids[label]] = label
        return str(ids[label])

    def path(self, resource: str, label: str) -> str:
        return f"/v1/{resource}/{self.id(label)}"

    def entry(self, label: str, product="rye", **amount) -> dict:
        return entry({"id": self.id(product)}, id=self.id(label), **amount)

    # --- the outcome -------------------------------------------------------------------------------

    def outcome(self, calls: tuple[Callable, ...], responses: list) -> tuple:
        """Return the responses and everything that is stored afterwards, in a comparable form."""
        returned = [
            (call.__name__, response.status_code, self.comparable(response.json()) if response.content else None)
            for call, response in zip(calls, responses, strict=True)
            if response is not None
        ]
        rows = [
            self.comparable(row)
            for model in owned_models()
            for row in model.all_objects.for_device(self.device).values()
        ]
        device = self.comparable(Device.objects.filter(pk=self.device.pk).values().get())
        return sorted(returned, key=repr), sorted(rows, key=repr), device, self.token_statuses(responses)

    def token_statuses(self, responses: list) -> list[int]:
        """Use each token and return the statuses. The first token comes first, because using a new one revokes it."""
        new = [response.json()["token"] for response in responses if response and b'"token"' in response.content]
        first, *others = [phone_with(token).get("/v1/devices/me").status_code for token in (self.token, *new)]
        return [first, *sorted(others)]

    def comparable(self, value):
        """Return the value without run-specific parts: ids become labels, revisions count from the initial one."""
        if isinstance(value, dict):
            result = {name: self.comparable(each) for name, each in value.items() if name not in LEFT_OUT}
            result |= {name: result[name] - self.start for name in REVISIONS & result.keys()}
            return result | ({"deleted": value["deleted_at"] is not None} if "deleted_at" in value else {})
        if isinstance(value, list):
            return [self.comparable(each) for each in value]
        row_id = value if isinstance(value, UUID) else parse_uuid(value)
        return self.labels.get(row_id, "new") if row_id else value


# --- the calls -------------------------------------------------------------------------------------


def edit_product(scenario, phone):
    return phone.patch(scenario.path("products", "rye"), {"name": "Edited"})


def give_product_the_barcode(scenario, phone):
    return phone.put(scenario.path("products", "rye"), {"barcode": BARCODE})


def delete_product(scenario, phone):
    return phone.delete(scenario.path("products", "rye"))


def restore_product(scenario, phone):
    """It has the barcode that other calls also want."""
    return phone.post(f"{scenario.path('products', 'gone')}/restore")


def delete_restored_product(scenario, phone):
    return phone.delete(scenario.path("products", "gone"))


def create_product_with_the_barcode(scenario, phone):
    return phone.post("/v1/products", product(id=scenario.id("oats"), barcode=BARCODE))


def create_another_product_with_the_barcode(scenario, phone):
    return phone.post("/v1/products", product(id=scenario.id("egg"), barcode=BARCODE))


def create_default_portion(scenario, phone):
    body = {"id": scenario.id("cup"), "name": "cup", "grams": 9, "is_default": True}
    return phone.post(f"{scenario.path('products', 'rye')}/portions", body)


def make_portion_default(scenario, phone):
    return phone.patch(scenario.path("portions", "slice"), {"is_default": True})


def make_another_portion_default(scenario, phone):
    return phone.patch(scenario.path("portions", "loaf"), {"is_default": True})


def delete_default_portion(scenario, phone):
    return phone.delete(scenario.path("portions", "100g"))


def delete_portion(scenario, phone):
    return phone.delete(scenario.path("portions", "slice"))


def restore_portion(scenario, phone):
    return phone.post(f"{scenario.path('portions', 'gone slice')}/restore")


def create_entry(scenario, phone):
    body = scenario.entry("new") | {"portion_id": scenario.id("slice"), "quantity": 3, "grams": None}
    return phone.post("/v1/food-entries", body)


def create_entries(scenario, phone):
    return phone.post("/v1/food-entries/batch", [scenario.entry(label) for label in ("new", "entry", "newer")])


def edit_entry(scenario, phone):
    return phone.patch(scenario.path("food-entries", "entry"), {"quantity": 5})


def delete_entry(scenario, phone):
    return phone.delete(scenario.path("food-entries", "entry"))


def restore_entry(scenario, phone):
    return phone.post(f"{scenario.path('food-entries', 'gone entry')}/restore")


def push_changes(scenario, phone):
    """Change the product, add a default portion and an entry with it, and delete the first entry."""
    row = product(id=scenario.id("rye"), name="Pushed", kcal_100g=300, barcode=BARCODE)
    part = portion(row, id=scenario.id("pushed slice"), name="Pushed slice", is_default=True)
    new = scenario.entry("pushed entry", portion_id=part["id"], quantity=2)
    entries = {"created": [new], "deleted": [scenario.id("entry")]}
    changes = {"products": {"updated": [row]}, "portions": {"created": [part]}, "food_entries": entries}
    return push(phone, scenario.start, **changes)


def push_entry_of_deleted_product(scenario, phone):
    """Add an entry of the deleted product, and delete the other product."""
    late = {"created": [scenario.entry("late", product="gone")]}
    return push(phone, scenario.start, products={"deleted": [scenario.id("rye")]}, food_entries=late)


def purge(scenario, phone):
    with transaction.atomic():
        purge_device(scenario.device.pk, scenario.ready_at)


def rotate(scenario, phone):
    return phone.post("/v1/auth/rotate")


def delete_device(scenario, phone):
    return phone.delete("/v1/devices/me")


def pull(scenario, phone):
    return phone.get(f"/v1/sync?last_pulled_at={scenario.start - 1}")


CALLS = [
    edit_product,
    give_product_the_barcode,
    delete_product,
    restore_product,
    delete_restored_product,
    create_product_with_the_barcode,
    create_another_product_with_the_barcode,
    create_default_portion,
    make_portion_default,
    make_another_portion_default,
    delete_default_portion,
    delete_portion,
    restore_portion,
    create_entry,
    create_entries,
    edit_entry,
    delete_entry,
    restore_entry,
    push_changes,
    push_entry_of_deleted_product,
    purge,
    rotate,
    delete_device,
    pull,
]


# --- serial and concurrent -------------------------------------------------------------------------


def serial_outcome(*calls: Callable) -> tuple:
    """Make the calls one after the other, on a new device."""
    scenario = Scenario()
    return scenario.outcome(calls, [call(scenario, phone_with(scenario.token)) for call in calls])


def concurrent_outcome(pool: ThreadPoolExecutor, *calls: Callable) -> tuple:
    """Make the calls on a new device while its row is locked, and unlock it when all calls wait for it."""
    scenario = Scenario()
    with transaction.atomic():
        Device.objects.select_for_update().get(pk=scenario.device.pk)
        running = []
        for call in calls:
            running.append(pool.submit(call, scenario, phone_with(scenario.token)))
            wait_until_done_or_blocked(running)
    return scenario.outcome(calls, [future.result(TIMEOUT) for future in running])


def wait_until_done_or_blocked(running: list[Future]) -> None:
    """Return as soon as each call has returned or waits for a database lock."""
    deadline = time.monotonic() + TIMEOUT
    with connection.cursor() as cursor:
        while time.monotonic() < deadline:
            cursor.execute("SELECT pg_stat_clear_snapshot()")
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pg_blocking_pids(pid) <> '{}'"
            )
            if cursor.fetchone()[0] + sum(future.done() for future in running) == len(running):
                return
            time.sleep(0.002)
    raise TimeoutError("a call neither ends nor waits for a lock")


@pytest.fixture(scope="module")
def pool():
    """Two threads for all tests. Each keeps its connection, so that its queries stay compiled and prepared."""
    with ThreadPoolExecutor(2) as pool:
        yield pool
        both = Barrier(2)
        list(pool.map(lambda _: (both.wait(TIMEOUT), connections.close_all()), range(2)))


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.__name__)
def test_two_concurrent_calls_have_a_serial_outcome(pool, call):
    for other in CALLS[CALLS.index(call) :]:
        orders = {(call, other), (other, call)}
        serial = [serial_outcome(*order) for order in orders]

        for order in orders:
            outcome = concurrent_outcome(pool, *order)

            assert outcome in serial, f"{order[0].__name__} and {order[1].__name__} at once"
