"""Random calls of three devices, as a state machine of Hypothesis. Each rule is one kind of call.

Hypothesis chooses the rules and their arguments. Nothing else is random, so a seed always produces the same calls. (Ids
and tokens differ from run to run, but no choice depends on them.)
"""

from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial
from uuid import uuid4

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from devices import models
from tests.contract import devices, food_entries, portions, products, sync
from tests.contract.bodies import (
    DAYS,
    ENTRIES_BY_PORTION,
    ENTRIES_BY_WEIGHT,
    ENTRY_CHANGES,
    ENTRY_FILTERS,
    INVALID,
    MEAL_TYPES,
    MORE_IN_A_PUSH,
    NEW_PORTIONS,
    NEW_PRODUCTS,
    PAGES,
    PORTION_CHANGES,
    PRODUCT_CHANGES,
    PRODUCT_FILTERS,
    PUSHED_PRODUCTS,
    chance,
)
from tests.contract.comparison import Comparison
from tests.contract.model import Device, Service

INDEXES = st.integers(0, 99)


@dataclass
class RowChoice:
    """The row that a call names: one of the device's `own` live rows, or any row, also deleted or another device's.

    A restore names one of its `own` deleted rows instead of a live one.
    """

    own: bool
    index: int


@dataclass
class IdChoice:
    """The id in the body of a new row: "none", a "new" one, that of a "used" row, or an "invalid" value."""

    kind: str
    used: RowChoice


@dataclass
class FoodChoice:
    """The product and the portion of an entry: "matching" ones, any two "own" ones, or any two of "any" device."""

    kind: str
    portion: int
    product: int


@dataclass
class NewEntry:
    body: dict
    by_portion: bool
    food: FoodChoice
    id: IdChoice


@dataclass
class NewPush:
    """A push: products with an id each, deletions, and what else is in the body. Each list has at most two rows."""

    rows: list[tuple[str, dict, IdChoice]]  # the first item is the name of the list
    deletions: list[tuple[str, RowChoice]]  # the first item is the spelling of the id
    more: dict


ROWS = st.builds(RowChoice, own=chance(8), index=INDEXES)
IDS = st.builds(
    IdChoice,
    kind=st.sampled_from(["none"] * 4 + ["new"] * 4 + ["used", "invalid"]),
    used=st.builds(RowChoice, own=chance(3), index=INDEXES),
)
FOODS = st.builds(
    FoodChoice,
    kind=st.sampled_from(["matching"] * 6 + ["own"] * 2 + ["any"] * 2),
    portion=INDEXES,
    product=INDEXES,
)
NEW_ENTRIES = st.one_of(
    st.builds(NewEntry, body=ENTRIES_BY_WEIGHT, by_portion=st.just(False), food=FOODS, id=IDS),
    st.builds(NewEntry, body=ENTRIES_BY_PORTION, by_portion=st.just(True), food=FOODS, id=IDS),
)
PUSHES = st.builds(
    NewPush,
    rows=st.lists(st.tuples(st.sampled_from(["created", "updated"]), PUSHED_PRODUCTS, IDS), max_size=2),
    deletions=st.lists(st.tuples(st.sampled_from(["lower", "upper", "title"]), ROWS), max_size=1),
    more=st.sampled_from([{}] * 8 + MORE_IN_A_PUSH),
)
DEVICES = st.integers(0, 2)
RESOURCES = st.sampled_from([("products", products), ("portions", portions), ("food_entries", food_entries)])
UPDATES = st.sampled_from(["PUT", "PATCH"])


class RandomCalls(RuleBasedStateMachine):
    command = "pytest tests/contract"  # repeats the sequence

    def __init__(self):
        super().__init__()
        self.service = Service()
        self.ids_without_row = [str(uuid4()), "no-id"]
        self.comparison = Comparison(self.command)
        self.call, self.read = self.comparison.call, self.comparison.read
        self.devices = [self.register() for _ in range(3)]
        for device in self.devices:
            self.add_first_rows(device)

    def register(self) -> Device:
        device_id = uuid4()
        return Device(self.service, str(device_id), models.Device.objects.register(device_id))

    def add_first_rows(self, device: Device) -> None:
        """Add two products, portions and an entry, because most calls need a row to name."""
        for name in ("Rye", "Oats"):
            body = {"name": name, "kcal_100g": 259, "protein_100g": 8.5}
            self.call(device, "POST", "products", body, partial(products.create, device, body))
        oats = device.rows("products", name="Oats")[0]["id"]
        for name, grams in (("Slice", 35.5), ("Cup", 90)):
            body = {"name": name, "grams": grams}
            self.call(device, "POST", f"products/{oats}/portions", body, partial(portions.create, device, oats, body))
        (portion,) = device.rows("portions", name="Slice")
        body = {"product_id": oats, "portion_id": portion["id"], "quantity": 2, "date": "2026-01-05"}
        self.call(device, "POST", "food-entries", body, partial(food_entries.create, device, body))

    # --- the rows that a call names ----------------------------------------------------------------

    def row_id(self, device: Device, table: str, choice: RowChoice, *, deleted: bool = False) -> str:
        own = [row["id"] for row in device.all_rows(table) if row.deleted == deleted]
        ids = own if choice.own and own else [*self.service.used_ids(table), *self.ids_without_row]
        return ids[choice.index % len(ids)]

    def with_id(self, device: Device, table: str, body: dict, choice: IdChoice) -> dict:
        match choice.kind:
            case "new":
                return body | {"id": str(uuid4())}
            case "used":
                return body | {"id": self.row_id(device, table, choice.used)}
            case "invalid":
                return body | {"id": INVALID["id"][choice.used.index % len(INVALID["id"])]}
        return body

    def food(self, device: Device, choice: FoodChoice) -> dict:
        own = choice.kind != "any"
        portion_id = self.row_id(device, "portions", RowChoice(own, choice.portion))
        portion = device.find("portions", portion_id)
        if portion and choice.kind == "matching":
            return {"product_id": portion["product_id"], "portion_id": portion_id}
        return {"product_id": self.row_id(device, "products", RowChoice(own, choice.product)), "portion_id": portion_id}

    def entry_body(self, device: Device, new: NewEntry) -> dict:
        food = self.food(device, new.food)
        body = new.body | (food if new.by_portion else {"product_id": food["product_id"]})
        return self.with_id(device, "food_entries", body, new.id)

    # --- devices -----------------------------------------------------------------------------------

    @rule(number=DEVICES, happens=chance(2))
    def register_again(self, number, happens):
        device = self.devices[number]
        known_ids = [device.id, *self.service.erased_devices[-1:]]
        for device_id in known_ids if happens else ():
            body = {"device_id": device_id}
            self.call(device, "POST", "auth/register", body, partial(devices.register_again, device_id), token="")

    @rule(number=DEVICES)
    def read_device(self, number):
        device = self.devices[number]
        self.call(device, "GET", "devices/me", None, partial(devices.read, device))

    @rule(number=DEVICES)
    def rotate(self, number):
        device = self.devices[number]
        self.call(device, "POST", "auth/rotate", None, partial(devices.rotate, device))

    @rule(number=DEVICES)
    def use_next_token(self, number):
        device = self.devices[number]
        if device.next_token:
            respond = partial(devices.use_next_token, device)
            self.call(device, "GET", "devices/me", None, respond, token=device.next_token)

    @rule(index=INDEXES)
    def use_invalid_token(self, index):
        tokens = [*self.service.invalid_tokens, "nonsense"]
        token = tokens[index % len(tokens)]
        for method, path in (("GET", "products"), ("GET", "sync"), ("POST", "auth/rotate"), ("DELETE", "devices/me")):
            self.call(None, method, path, None, devices.use_invalid_token, token=token)

    @rule(number=DEVICES, happens=chance(2))
    def erase_device(self, number, happens):
        if happens:
            device = self.devices[number]
            self.call(device, "DELETE", "devices/me", None, partial(devices.erase, device))
            self.devices[number] = self.register()

    # --- products ----------------------------------------------------------------------------------

    @rule(
        number=DEVICES,
        body=NEW_PRODUCTS,
        choice=IDS,
        new_portions=st.one_of(st.none(), st.lists(st.tuples(NEW_PORTIONS, IDS), max_size=3)),
    )
    def create_product(self, number, body, choice, new_portions):
        device = self.devices[number]
        body = self.with_id(device, "products", body, choice)
        if new_portions is not None:
            # Each has an id: the model can't sort portions of the same name by ids that the service chooses.
            new_portions = [({"id": str(uuid4())} | portion, choice) for portion, choice in new_portions]
            body |= {"portions": [self.with_id(device, "portions", *portion) for portion in new_portions]}
        self.call(device, "POST", "products", body, partial(products.create, device, body))

    @rule(number=DEVICES, method=UPDATES, row=ROWS, body=PRODUCT_CHANGES)
    def change_product(self, number, method, row, body):
        device = self.devices[number]
        row_id = self.row_id(device, "products", row)
        self.call(device, method, f"products/{row_id}", body, partial(products.change, device, row_id, body))

    @rule(number=DEVICES, row=ROWS)
    def delete_product(self, number, row):
        device = self.devices[number]
        row_id = self.row_id(device, "products", row)
        self.call(device, "DELETE", f"products/{row_id}", None, partial(products.delete, device, row_id))

    @rule(number=DEVICES, query=PAGES, filters=PRODUCT_FILTERS, conditional=st.booleans())
    def list_products(self, number, query, filters, conditional):
        device, query = self.devices[number], query | filters
        self.read(device, "products", query, partial(products.list_all, device, query), conditional=conditional)

    # --- portions ----------------------------------------------------------------------------------

    @rule(number=DEVICES, product=ROWS, body=NEW_PORTIONS, choice=IDS)
    def create_portion(self, number, product, body, choice):
        device = self.devices[number]
        product_id = self.row_id(device, "products", product)
        body = self.with_id(device, "portions", body, choice)
        respond = partial(portions.create, device, product_id, body)
        self.call(device, "POST", f"products/{product_id}/portions", body, respond)

    @rule(number=DEVICES, method=UPDATES, row=ROWS, body=PORTION_CHANGES)
    def change_portion(self, number, method, row, body):
        device = self.devices[number]
        row_id = self.row_id(device, "portions", row)
        self.call(device, method, f"portions/{row_id}", body, partial(portions.change, device, row_id, body))

    @rule(number=DEVICES, row=ROWS)
    def delete_portion(self, number, row):
        device = self.devices[number]
        row_id = self.row_id(device, "portions", row)
        self.call(device, "DELETE", f"portions/{row_id}", None, partial(portions.delete, device, row_id))

    @rule(number=DEVICES, product=ROWS, query=PAGES, conditional=st.booleans())
    def list_portions(self, number, product, query, conditional):
        device = self.devices[number]
        product_id = self.row_id(device, "products", product)
        respond = partial(portions.list_all, device, product_id, query)
        self.read(device, f"products/{product_id}/portions", query, respond, conditional=conditional)

    # --- food entries ------------------------------------------------------------------------------

    @rule(number=DEVICES, new=NEW_ENTRIES)
    def create_entry(self, number, new):
        device = self.devices[number]
        body = self.entry_body(device, new)
        self.call(device, "POST", "food-entries", body, partial(food_entries.create, device, body))

    @rule(number=DEVICES, new=st.lists(NEW_ENTRIES, min_size=1, max_size=4))
    def create_entries(self, number, new):
        device = self.devices[number]
        body = [self.entry_body(device, each) for each in new]
        self.call(device, "POST", "food-entries/batch", body, partial(food_entries.create_batch, device, body))

    @rule(
        number=DEVICES,
        row=ROWS,
        body=ENTRY_CHANGES,
        food=FOODS,
        columns=st.sets(st.sampled_from(["product_id", "portion_id"])),
        without_portion=chance(1),
    )
    def change_entry(self, number, row, body, food, columns, without_portion):
        device = self.devices[number]
        row_id = self.row_id(device, "food_entries", row)
        food = self.food(device, food) | ({"portion_id": None} if without_portion else {})
        body = body | {column: food[column] for column in sorted(columns)}
        self.call(device, "PATCH", f"food-entries/{row_id}", body, partial(food_entries.change, device, row_id, body))

    @rule(number=DEVICES, index=INDEXES, meal_type=MEAL_TYPES)
    def send_back_an_entry(self, number, index, meal_type):
        """Send an entry as the service returns it, with another meal type."""
        device = self.devices[number]
        row_id = self.row_id(device, "food_entries", RowChoice(own=True, index=index))
        row = device.find("food_entries", row_id)
        body = (row.to_json() if row else {}) | {"meal_type": meal_type}
        self.call(device, "PUT", f"food-entries/{row_id}", body, partial(food_entries.change, device, row_id, body))

    @rule(number=DEVICES, row=ROWS)
    def delete_entry(self, number, row):
        device = self.devices[number]
        row_id = self.row_id(device, "food_entries", row)
        self.call(device, "DELETE", f"food-entries/{row_id}", None, partial(food_entries.delete, device, row_id))

    @rule(number=DEVICES, query=PAGES, filters=ENTRY_FILTERS, conditional=st.booleans())
    def list_entries(self, number, query, filters, conditional):
        device, query = self.devices[number], query | filters
        self.read(device, "food-entries", query, partial(food_entries.list_all, device, query), conditional=conditional)

    @rule(number=DEVICES, first=DAYS, days=st.sampled_from([0, 1, 2, 365, 366, -1]), conditional=st.booleans())
    def summarise_entries(self, number, first, days, conditional):
        device, last = self.devices[number], str(date.fromisoformat(first) + timedelta(days=days))
        query, respond = {"from": first, "to": last}, partial(food_entries.summarise, device, first, last)
        self.read(device, "food-entries/summary", query, respond, conditional=conditional)

    # --- rows of any table -------------------------------------------------------------------------

    @rule(number=DEVICES, resource=RESOURCES, row=ROWS, conditional=st.booleans())
    def read_row(self, number, resource, row, conditional):
        device, (table, module) = self.devices[number], resource
        row_id = self.row_id(device, table, row)
        path = f"{table.replace('_', '-')}/{row_id}"
        self.read(device, path, {}, partial(module.read, device, row_id), conditional=conditional)

    @rule(number=DEVICES, resource=RESOURCES, row=ROWS)
    def restore_row(self, number, resource, row):
        device, (table, module) = self.devices[number], resource
        row_id = self.row_id(device, table, row, deleted=True)
        path = f"{table.replace('_', '-')}/{row_id}/restore"
        self.call(device, "POST", path, None, partial(module.restore, device, row_id))

    @rule(number=DEVICES, index=INDEXES)
    def pull(self, number, index):
        device = self.devices[number]
        since = index % (device.revision + 1)
        self.call(device, "GET", f"sync?last_pulled_at={since}", None, partial(sync.pull, device, since))

    @rule(number=DEVICES, pushed=PUSHES, age=st.sampled_from([0] * 6 + [1, 3, 10, 50]))
    def push(self, number, pushed, age):
        device = self.devices[number]
        since = max(device.revision - age, 0)
        body = self.push_body(device, pushed)
        self.call(device, "POST", f"sync?last_pulled_at={since}", body, partial(sync.push, device, since, body))
        for row in body["products"]["created"] + body["products"]["updated"]:
            if device.find("products", row["id"]):  # if it is new, only a read returns the id of its portion
                respond = partial(products.read, device, row["id"])
                self.read(device, f"products/{row['id']}", {}, respond, conditional=False)

    def push_body(self, device: Device, pushed: NewPush) -> dict:
        lists = {"created": [], "updated": [], "deleted": []}
        for name, values, choice in pushed.rows:
            # Half of the rows are live ones of the device, because most ids of REST are new.
            own = self.row_id(device, "products", RowChoice(own=True, index=choice.used.index))
            lists[name].append({"id": own} | self.with_id(device, "products", values, choice))
        for spelling, choice in pushed.deletions:
            lists["deleted"].append(getattr(self.row_id(device, "products", choice), spelling)())
        for row in lists["created"] + lists["updated"]:
            row["id"] = str(row["id"])  # an id that is no text is a 422
        return {"products": lists} | pushed.more

    # --- invariants and the end --------------------------------------------------------------------

    @invariant()
    def each_product_has_one_default_portion(self):
        for device in self.devices:
            for product in device.rows("products"):
                assert len(device.rows("portions", product_id=product["id"], is_default=True)) == 1

    def teardown(self):
        """List everything again. Hypothesis also calls this after a failure, which it must not hide."""
        for device in self.devices if not self.comparison.failed else ():
            for limit in (1, 200):
                query = {"limit": limit}
                respond = partial(products.list_all, device, query)
                self.read(device, "products", query, respond, conditional=False)
                respond = partial(food_entries.list_all, device, query)
                self.read(device, "food-entries", query, respond, conditional=False)
