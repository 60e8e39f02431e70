"""A replica of PostgreSQL that is behind, and what it would tell phones."""

from collections.abc import Iterator

import pytest

from tests.e2e.scaling.machines import migrated, settings_for
from tests.e2e.scaling.writing_phone import WritingPhone
from tests.harness.processes import Postgres, Process
from tests.harness.servers import manage


@pytest.fixture(scope="module")
def copy(started, postgres) -> Process:
    return started.copy("followed", migrated(postgres, "followed"))


@pytest.fixture
def phone(copy) -> Iterator[WritingPhone]:
    """A phone with one product, which it has pulled."""
    with WritingPhone(copy.port) as phone:
        phone.add_product()
        assert phone.pull()["timestamp"] == 2
        yield phone


@pytest.fixture
def replica(started, postgres, phone) -> Postgres:
    """A replica that has that product, and is an hour behind what comes from now on."""
    return started.replica_of(postgres, recovery_min_apply_delay="1h")


def answered_by(phone: WritingPhone, started, replica: Postgres) -> WritingPhone:
    """Return the phone, which from now on asks a copy of the service on the replica."""
    copy = started.copy(f"on-{replica.port}", replica.url("followed", user="countonme"))
    phone.move_to(copy.port)
    return phone


@pytest.fixture
def lost(phone, replica) -> str:
    """Lose a row that the phone has pulled: the replica, cut off before, takes over. Return its id."""
    replica.run("ALTER SYSTEM SET primary_conninfo = ''")
    replica.stop()  # a reload is not seen while it waits to apply a commit: one of autovacuum's is enough
    replica.start()
    phone.add_product()
    assert phone.pull()["timestamp"] == 3
    replica.control("promote")
    return list(phone.products)[-1]


class TestAReplicaThatIsBehind:
    def test_tells_a_phone_that_its_changes_were_lost(self, started, phone, replica):
        phone.add_product()
        assert "restored" not in phone.pull()

        answer = answered_by(phone, started, replica).pull()

        assert answer["restored"] is True
        assert len(answer["changes"]["products"]["updated"]) == 1
        assert (answer["timestamp"], phone.writes) == (2, 2)


class TestAReplicaThatTakesOver:
    def test_hides_rows_as_if_nothing_were_lost(self, started, phone, replica, lost):
        answered_by(phone, started, replica)

        phone.add_product()  # as support's change of a row: it gets the number of the lost one
        answer = phone.pull(since=3)

        assert "restored" not in answer
        assert answer["changes"]["products"]["updated"] == []
        assert phone.get(f"/v1/products/{lost}").status_code == 404

    def test_loses_nothing_after_after_restore(self, started, phone, replica, lost):
        manage(settings_for(replica.url("followed", user="countonme")), "after_restore", "--without-ledger")
        answered_by(phone, started, replica)

        answer = phone.pull(since=3)
        assert answer["restored"] is True
        known = {row["id"] for row in answer["changes"]["products"]["updated"]}
        assert phone.products.keys() - known == {lost}
        back = {"products": {"created": [{"id": lost, "name": "Rye bread", "kcal_100g": 1}]}}
        phone.request("POST", f"/v1/sync?last_pulled_at={answer['timestamp']}", back, accepted={200})

        changes = phone.pull(since=0)["changes"]
        assert {row["id"] for row in changes["products"]["updated"]} == phone.products.keys()
