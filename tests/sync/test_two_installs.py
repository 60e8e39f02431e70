"""Two installs and the server agree after random writes, syncs, lost responses, REST calls and purges."""

from datetime import timedelta
from uuid import uuid4

import pytest
from django.utils import timezone
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from devices.models import Device
from sync.purge import purge
from tests.harness.client import DeviceClient
from tests.harness.install import Install
from tests.harness.sync import entry, live_rows, portion, product, pull_changes

BARCODES = st.sampled_from([None, None, "4006381333931", "96385074"])
INSTALLS = st.sampled_from([0, 1])
PLACES = st.integers(0, 50)
NAMES = st.sampled_from(["Rye", "Oats", "Egg", "Éclair", "麦"])
GRAMS = st.sampled_from([1, 35.5, 99.99, 250])


class TwoInstalls(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.api = DeviceClient(Device.objects.register(uuid4()))
        self.installs = [Install(self.api), Install(self.api)]
        self.deleted: set[str] = set()  # by anyone, and acknowledged
        self.unwanted: set[str] = set()  # an install or REST has tried to delete them
        self.purged: set[str] = set()

    def one_of(self, install: Install, table: str, place: int) -> str | None:
        rows = list(install.records[table])
        return rows[place % len(rows)] if rows else None

    # --- on an install -----------------------------------------------------------------------------

    @rule(which=INSTALLS, name=NAMES, barcode=BARCODES, portions=st.integers(0, 2), default=st.booleans())
    def create_a_product(self, which, name, barcode, portions, default):
        row = product(name=name, barcode=barcode)
        self.installs[which].create("products", row)
        for number in range(portions):
            self.installs[which].create("portions", portion(row, name=f"P{number}", is_default=default))

    @rule(which=INSTALLS, place=PLACES, name=NAMES, grams=GRAMS, default=st.booleans())
    def create_a_portion(self, which, place, name, grams, default):
        install = self.installs[which]
        if of := self.one_of(install, "products", place):
            install.create("portions", portion({"id": of}, name=name, grams=grams, is_default=default))

    @rule(which=INSTALLS, place=PLACES, grams=GRAMS)
    def create_an_entry(self, which, place, grams):
        install = self.installs[which]
        if of := self.one_of(install, "products", place):
            install.create("food_entries", entry({"id": of}, grams=grams))

    @rule(which=INSTALLS, place=PLACES, values=st.fixed_dictionaries({}, optional={"name": NAMES, "barcode": BARCODES}))
    def change_a_product(self, which, place, values):
        install = self.installs[which]
        if row_id := self.one_of(install, "products", place):
            install.edit("products", row_id, **values)

    @rule(which=INSTALLS, place=PLACES, grams=GRAMS, default=st.booleans())
    def change_a_portion(self, which, place, grams, default):
        install = self.installs[which]
        if row_id := self.one_of(install, "portions", place):
            install.edit("portions", row_id, grams=grams, is_default=default)

    @rule(which=INSTALLS, place=PLACES, grams=GRAMS)
    def change_an_entry(self, which, place, grams):
        install = self.installs[which]
        if row_id := self.one_of(install, "food_entries", place):
            install.edit("food_entries", row_id, grams=grams)

    @rule(which=INSTALLS, place=PLACES, table=st.sampled_from(["products", "portions", "food_entries"]))
    def delete(self, which, place, table):
        install = self.installs[which]
        if row_id := self.one_of(install, table, place):
            before = {pk for rows in install.records.values() for pk in rows}
            install.delete(table, row_id)
            self.unwanted |= before - {pk for rows in install.records.values() for pk in rows}

    @rule(which=INSTALLS)
    def sync(self, which):
        self.installs[which].sync()
        self.record_deletions()

    @rule(which=INSTALLS, place=PLACES, name=NAMES, kcal=st.integers(0, 900))
    def change_a_product_here_and_over_rest(self, which, place, name, kcal):
        """Change another column over REST between pull and push: both changes must be stored."""
        install = self.installs[which]
        install.pull()
        row_id = self.one_of(install, "products", place)
        if self.api.patch(f"/v1/products/{row_id}", {"name": name}).status_code != 200:
            return
        install.edit("products", row_id, kcal_100g=kcal)
        kept = "name" not in install.records["products"][row_id].changed
        if install.push(lost=False) == 409:
            install.sync()
        if kept and not install.records["products"][row_id].pending:
            stored = self.api.get(f"/v1/products/{row_id}").json()
            assert (stored["name"], stored["kcal_100g"]) == (name, kcal)
        self.record_deletions()

    @rule(which=INSTALLS)
    def sync_and_lose_the_response(self, which):
        self.installs[which].sync(lost=True)
        self.record_deletions()

    # --- on the server -----------------------------------------------------------------------------

    @rule(place=PLACES, name=NAMES)
    def change_a_product_over_rest(self, place, name):
        rows = self.api.get("/v1/products").json()
        if rows:
            assert self.api.patch(f"/v1/products/{rows[place % len(rows)]['id']}", {"name": name}).status_code == 200

    @rule(place=PLACES)
    def move_the_default_over_rest(self, place):
        portions = [one for row in self.api.get("/v1/products").json() for one in row["portions"]]
        if portions:
            path = f"/v1/portions/{portions[place % len(portions)]['id']}"
            assert self.api.patch(path, {"is_default": True}).status_code == 200

    @rule(place=PLACES)
    def delete_a_product_over_rest(self, place):
        rows = self.api.get("/v1/products").json()
        if rows:
            row = rows[place % len(rows)]
            assert self.api.delete(f"/v1/products/{row['id']}").status_code == 204
            self.unwanted |= {row["id"], *(one["id"] for one in row["portions"])}
            self.record_deletions()

    @rule(place=PLACES)
    def restore_over_rest(self, place):
        if not self.deleted:
            return
        row_id = sorted(self.deleted)[place % len(self.deleted)]
        for kind in ("products", "portions", "food-entries"):
            response = self.api.post(f"/v1/{kind}/{row_id}/restore")
            assert response.status_code in (200, 404, 409)
            if response.status_code == 200:
                row = response.json()
                self.deleted -= {row["id"], *(one["id"] for one in row.get("portions", ()))}

    @rule()
    def purge(self):
        before = self.tombstones()
        list(purge(timezone.now() + timedelta(days=1), commit=True))
        self.purged |= before - self.tombstones()

    # --- checks ------------------------------------------------------------------------------------

    def tombstones(self) -> set[str]:
        changes = pull_changes(self.api, 1)
        if "experimentalStrategy" in changes:  # the first tombstones have been purged
            changes = pull_changes(self.api, self.purged_through())
        return {row_id for lists in changes["changes"].values() for row_id in lists["deleted"]}

    def purged_through(self) -> int:
        return Device.objects.get(pk=self.api.token.partition(".")[0]).purged_through

    def record_deletions(self) -> None:
        self.deleted |= self.tombstones()

    def teardown(self):
        for _ in range(3):
            for install in self.installs:
                assert install.sync()
        self.record_deletions()
        for install in self.installs:
            install.pull()
        tables = {table: live_rows(self.api, table) for table in ("products", "portions", "food_entries")}
        everywhere = {row_id for rows in tables.values() for row_id in rows}

        for install in self.installs:
            refused = {pk for records in install.records.values() for pk, one in records.items() if one.pending}
            synced = install.synced()
            for table, rows in tables.items():
                assert synced.get(table, {}) == {pk: row for pk, row in rows.items() if pk not in refused}
            assert install.acknowledged - everywhere <= self.unwanted | self.deleted | self.purged
        assert self.deleted & everywhere <= self.purged
        for product_id in tables["products"]:
            defaults = [
                row for row in tables["portions"].values() if row["product_id"] == product_id and row["is_default"]
            ]
            assert len(defaults) == 1


@pytest.mark.django_db
def test_two_installs_and_the_server_agree():
    run_state_machine_as_test(
        TwoInstalls,
        settings=settings(
            max_examples=60,
            stateful_step_count=40,
            deadline=None,
            database=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
