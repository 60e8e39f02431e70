"""Whatever two calls meet, what comes of it is what one after the other would have left.

The service itself says what that is, asked in turn. "At once" is the worst there is: the device's row is held until
both calls have been let in and wait for it, one behind the other, or have been answered without it.
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
PASSING = {"created_at", "updated_at", "last_seen_at", "deleted_at", "token", "token_hash", "next_token_hash"}
COUNTED = {"revision", "timestamp", "purged_through"}
PATIENCE = 20  # seconds


HANDLER = DeviceClient("").handler


def phone(token: str) -> DeviceClient:
    """Return a client that shares its middleware with the others: to load that takes longer than most calls."""
    client = DeviceClient(token)
    client.handler = HANDLER
    return client


class Scene:
    """A device with a product of three portions and an entry, and a deleted product."""

    def __init__(self):
        self.token = Device.objects.register(uuid4())
        self.device = Device.objects.get(pk=self.token.partition(".")[0])
        self.labels: dict[UUID, str] = {self.device.pk: "device"}
        with change_set(self.device):
            rye = Product.objects.add(self.device, id=self.id("rye"), name="Rye", kcal_100g=250)
            gone = Product.objects.add(self.device, id=self.id("gone"), name="Gone", kcal_100g=1)
            for name in ("slice", "loaf"):
                Portion.objects.add(rye, id=self.id(name), name=name, grams=Decimal(40))
            by_slice = Portion.objects.for_device(self.device).get(name="slice")
            amount = {"portion": by_slice, "quantity": Decimal(2), "grams": Decimal(80)}
            FoodEntry.draft(self.device, id=self.id("eaten"), product=rye, date=date(2026, 1, 5), **amount).save()
        with change_set(self.device):
            gone.soft_delete()
        self.labels[rye.portions.get(is_default=True).pk] = "100g"
        self.device.refresh_from_db()
        self.start, self.made_at = self.device.revision, timezone.now()

    def id(self, label: str) -> str:
        """Return the id of what has this label, a new one the first time."""
        known = {name: row_id for row_id, name in self.labels.items()}
        if label not in known:
            known[label] = uuid4()
            self.labels[known[label]] = label
        return str(known[label])

    def path(self, kind: str, label: str) -> str:
        return f"/v1/{kind}/{self.id(label)}"

    def eaten(self, label: str, of="rye", **amount) -> dict:
        return entry({"id": self.id(of)}, id=self.id(label), **amount)

    def kept(self, phone: DeviceClient, label: str):
        return phone.post("/v1/products", product(id=self.id(label), barcode=BARCODE))

    def pushed(self, phone: DeviceClient):
        """Change the product, add a default portion and an entry by it, and delete the entry there is."""
        row = product(id=self.id("rye"), name="Pushed", kcal_100g=300, barcode=BARCODE)
        part = portion(row, id=self.id("pushed slice"), name="Pushed slice", is_default=True)
        new = self.eaten("pushed entry", portion_id=part["id"], quantity=2)
        entries = {"created": [new], "deleted": [self.id("eaten")]}
        return push(phone, self.start, products={"updated": [row]}, portions={"created": [part]}, food_entries=entries)

    def pushed_late(self, phone: DeviceClient):
        """Eat of the product that is deleted, and delete the other one."""
        late = {"created": [self.eaten("late", of="gone")]}
        return push(phone, self.start, products={"deleted": [self.id("rye")]}, food_entries=late)

    def purged(self, phone: DeviceClient) -> None:
        with transaction.atomic():
            purge_device(self.device.pk, self.made_at)

    # --- what comes of it --------------------------------------------------------------------------

    def outcome(self, names: tuple[str, ...], answers: list) -> tuple:
        """Return who was told what, and all that is left."""
        said = [
            (name, answer.status_code, self.told(answer))
            for name, answer in zip(names, answers, strict=True)
            if answer is not None
        ]
        rows = [
            self.plain(row) for model in owned_models() for row in model.all_objects.for_device(self.device).values()
        ]
        device = self.plain(Device.objects.filter(pk=self.device.pk).values().get())
        return sorted(said, key=repr), sorted(rows, key=repr), device, self.let_in(answers)

    def told(self, answer):
        return self.plain(answer.json()) if answer.content else None

    def let_in(self, answers: list) -> list[int]:
        """Say what becomes of each token that there is, the first one first: another one's first use ends it."""
        given = [answer.json()["token"] for answer in answers if answer is not None and b'"token"' in answer.content]
        first, *rest = [phone(one).get("/v1/devices/me").status_code for one in (self.token, *given)]
        return [first, *sorted(rest)]

    def plain(self, value):
        """Return a value without what is different each time: ids by their labels, numbers from the start."""
        if isinstance(value, dict):
            kept = {name: self.plain(one) for name, one in value.items() if name not in PASSING}
            kept |= {name: kept[name] - self.start for name in COUNTED & kept.keys()}
            return kept | ({"deleted": value["deleted_at"] is not None} if "deleted_at" in value else {})
        if isinstance(value, list):
            return [self.plain(one) for one in value]
        row_id = value if isinstance(value, UUID) else parse_uuid(value)
        return self.labels.get(row_id, "new") if row_id else value


CALLS: dict[str, Callable[[Scene, DeviceClient], object]] = {
    "edit the product": lambda s, phone: phone.patch(s.path("products", "rye"), {"name": "Edited"}),
    "give it the barcode": lambda s, phone: phone.put(s.path("products", "rye"), {"barcode": BARCODE}),
    "delete the product": lambda s, phone: phone.delete(s.path("products", "rye")),
    "keep a product with the barcode": lambda s, phone: phone.post(
        "/v1/products", product(id=s.id("oats"), barcode=BARCODE)
    ),
    "keep another one with it": lambda s, phone: phone.post("/v1/products", product(id=s.id("egg"), barcode=BARCODE)),
    "add a default portion": lambda s, phone: phone.post(
        f"{s.path('products', 'rye')}/portions", {"id": s.id("cup"), "name": "cup", "grams": 9, "is_default": True}
    ),
    "make a portion the default": lambda s, phone: phone.patch(s.path("portions", "slice"), {"is_default": True}),
    "make another one the default": lambda s, phone: phone.patch(s.path("portions", "loaf"), {"is_default": True}),
    "delete the default": lambda s, phone: phone.delete(s.path("portions", "100g")),
    "delete a portion": lambda s, phone: phone.delete(s.path("portions", "slice")),
    "log an entry": lambda s, phone: phone.post(
        "/v1/food-entries", {**s.eaten("new"), "portion_id": s.id("slice"), "quantity": 3, "grams": None}
    ),
    "log a batch": lambda s, phone: phone.post(
        "/v1/food-entries", [s.eaten("new"), s.eaten("eaten"), s.eaten("newer")]
    ),
    "edit the entry": lambda s, phone: phone.patch(s.path("food-entries", "eaten"), {"quantity": 5}),
    "delete the entry": lambda s, phone: phone.delete(s.path("food-entries", "eaten")),
    "push": Scene.pushed,
    "push of the deleted": Scene.pushed_late,
    "purge": Scene.purged,
    "rotate": lambda s, phone: phone.post("/v1/auth/rotate"),
    "delete the device": lambda s, phone: phone.delete("/v1/devices/me"),
    "pull": lambda s, phone: phone.get(f"/v1/sync?last_pulled_at={s.start - 1}"),
}


@pytest.fixture(scope="module")
def pool():
    """Two threads that stay, each with its connection: what it compiles and prepares is kept."""
    with ThreadPoolExecutor(2) as pool:
        yield pool
        both = Barrier(2)
        list(pool.map(lambda _: (both.wait(PATIENCE), connections.close_all()), range(2)))


def in_turn(*names: str) -> tuple:
    scene = Scene()
    return scene.outcome(names, [CALLS[name](scene, phone(scene.token)) for name in names])


def at_once(pool: ThreadPoolExecutor, *names: str) -> tuple:
    """Make both calls while the device's row is held, the first one first, and let go when both have come to it."""
    scene = Scene()
    with transaction.atomic():
        Device.objects.select_for_update().get(pk=scene.device.pk)
        calls = []
        for name in names:
            calls.append(pool.submit(CALLS[name], scene, phone(scene.token)))
            wait_for(calls)
    return scene.outcome(names, [call.result(PATIENCE) for call in calls])


def wait_for(calls: list[Future]) -> None:
    """Return when each call has been answered, or waits for the device's row."""
    until = time.monotonic() + PATIENCE
    with connection.cursor() as cursor:
        while time.monotonic() < until:
            cursor.execute("SELECT pg_stat_clear_snapshot()")
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pg_blocking_pids(pid) <> '{}'"
            )
            if cursor.fetchone()[0] + sum(call.done() for call in calls) == len(calls):
                return
            time.sleep(0.002)
    raise TimeoutError("a call neither ends nor waits")


@pytest.mark.parametrize("one", CALLS)
def test_two_calls_at_once_come_one_after_the_other(pool, one):
    for other in list(CALLS)[list(CALLS).index(one) :]:
        orders = {(one, other), (other, one)}
        explained = [in_turn(*order) for order in orders]

        for order in orders:
            assert at_once(pool, *order) in explained, f"{order} at once"
