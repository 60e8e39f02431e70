"""The service on a PostgreSQL replica that lags behind, before and after a failover."""

from collections.abc import Iterator

import pytest

from tests.e2e.scaling.machines import create_migrated, settings_for
from tests.e2e.scaling.writing_phone import WritingPhone
from tests.harness.processes import Postgres, Process
from tests.harness.servers import manage


@pytest.fixture(scope="module")
def copy(started, postgres) -> Process:
    return started.copy("followed", create_migrated(postgres, "followed"))


@pytest.fixture
def phone(copy) -> Iterator[WritingPhone]:
    """A phone with one product, which it has pulled."""
    with WritingPhone(copy.port) as phone:
        phone.add_product()
        assert phone.pull()["timestamp"] == 2
        yield phone


@pytest.fixture
def replica(started, postgres, phone) -> Postgres:
    """A replica that has the phone's product, and applies later changes with a delay of an hour."""
    return started.replica_of(postgres, recovery_min_apply_delay="1h")


def move_to_replica(phone: WritingPhone, started, replica: Postgres) -> WritingPhone:
    """Let the phone call a copy of the service on the replica from now on. Return the phone."""
    copy = started.copy(f"on-{replica.port}", replica.url("followed", user="countonme"))
    phone.move_to(copy.port)
    return phone


@pytest.fixture
def lost(phone, replica) -> str:
    """Lose a row that the phone has pulled: promote a replica that was disconnected before. Return the row's id."""
    replica.run("ALTER SYSTEM SET primary_conninfo = ''")
    replica.stop()  # a reload has no effect while the replica waits to apply a commit, such as one of autovacuum
    replica.start()
    phone.add_product()
    assert phone.pull()["timestamp"] == 3
    replica.control("promote")
    return list(phone.products)[-1]


class TestAReplicaThatIsBehind:
    def test_reports_a_restore_if_changes_of_the_phone_are_missing(self, started, phone, replica):
        phone.add_product()
        assert "restored" not in phone.pull()

        content = move_to_replica(phone, started, replica).pull()

        assert content["restored"] is True
        assert len(content["changes"]["products"]["updated"]) == 1
        assert (content["timestamp"], phone.writes) == (2, 2)


class TestAReplicaThatTakesOver:
    def test_does_not_report_lost_rows(self, started, phone, replica, lost):
        move_to_replica(phone, started, replica)

        phone.add_product()  # gets the revision of the lost row; support may change a row too
        content = phone.pull(since=3)

        assert "restored" not in content
        assert content["changes"]["products"]["updated"] == []
        assert phone.get(f"/v1/products/{lost}").status_code == 404

    def test_loses_no_rows_if_after_restore_is_run(self, started, phone, replica, lost):
        manage(settings_for(replica.url("followed", user="countonme")), "after_restore", "--without-ledger")
        move_to_replica(phone, started, replica)

        content = phone.pull(since=3)
        assert content["restored"] is True
        known = {row["id"] for row in content["changes"]["products"]["updated"]}
        assert phone.products.keys() - known == {lost}
        back = {"products": {"created": [{"id": lost, "name": "Rye bread", "kcal_100g": 1}]}}
        phone.request("POST", f"/v1/sync?last_pulled_at={content['timestamp']}", back, accepted={200})

        changes = phone.pull(since=0)["changes"]
        assert {row["id"] for row in changes["products"]["updated"]} == phone.products.keys()
