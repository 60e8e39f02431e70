"""PgBouncer in transaction mode: which settings and statements clients share, and the timeouts of the service."""

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import psycopg
import pytest

from countonme.api.errors import TooSlow
from tests.e2e.scaling.machines import create_migrated
from tests.e2e.scaling.writing_phone import WritingPhone

SLEEP = """
    CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(20); RETURN NEW; END $$;
    CREATE TRIGGER slow BEFORE INSERT ON products FOR EACH ROW WHEN (NEW.name = 'Slow') EXECUTE FUNCTION slow()
"""


@pytest.fixture(scope="module")
def pooler(started, postgres):
    """PgBouncer with one connection for all clients."""
    return started.pgbouncer(postgres, default_pool_size="1")


@pytest.fixture
def clients(postgres, pooler):
    """Two clients of PgBouncer, with the service's options."""
    address = postgres.url("postgres", user="countonme", through=pooler)
    with ExitStack() as open_connections:
        yield [
            open_connections.enter_context(psycopg.connect(address, autocommit=True, prepare_threshold=None))
            for _ in range(2)
        ]


def shown(client: psycopg.Connection, name: str) -> str:
    return client.execute(f"SHOW {name}").fetchone()[0]


class TestASettingOfOneClient:
    def test_also_applies_to_another_client(self, clients):
        one, other = clients
        one.execute("SET statement_timeout = '7s'")

        assert shown(other, "statement_timeout") == "7s"

        one.execute("RESET statement_timeout")

    def test_is_rejected_as_a_startup_option(self, postgres, pooler):
        address = postgres.url("postgres", user="countonme", through=pooler)

        with pytest.raises(psycopg.OperationalError, match="unsupported startup parameter: options"):
            psycopg.connect(address, options="-c statement_timeout=7s")

    def test_applies_to_this_client_only_if_it_is_the_time_zone(self, clients):
        one, other = clients
        other.execute("SET TIME ZONE 'Asia/Tokyo'")
        one.execute("SET TIME ZONE 'UTC'")

        assert [shown(client, "TimeZone") for client in clients] == ["UTC", "Asia/Tokyo"]

    def test_applies_to_this_client_only_if_it_is_local_to_a_transaction(self, clients):
        one, other = clients
        with one.transaction():
            one.execute("SET LOCAL statement_timeout = '7s'")

        assert shown(other, "statement_timeout") == "0"


class TestAPassword:
    @pytest.fixture
    def address(self, started, postgres) -> str:
        postgres.run("CREATE ROLE careful LOGIN PASSWORD 'a secret'")
        hba = postgres.data / "pg_hba.conf"
        hba.write_text(f"host all careful 127.0.0.1/32 scram-sha-256\n{hba.read_text()}")
        postgres.control("reload")
        pooler = started.pgbouncer(postgres, auth_type="scram-sha-256")
        return f"{postgres.url('postgres', user='careful', through=pooler)}?connect_timeout=5"

    def test_is_the_password_of_postgresql(self, address):
        with psycopg.connect(address, password="a secret") as client:
            assert client.execute("SELECT current_user").fetchone() == ("careful",)
        for wrong in ({}, {"password": "another"}):
            with pytest.raises(psycopg.OperationalError):
                psycopg.connect(address, **wrong)


class TestATimeLimitOfTheRole:
    def test_applies_to_every_client(self, started, postgres):
        postgres.run("CREATE ROLE patient LOGIN")
        postgres.run("ALTER ROLE patient SET statement_timeout = '200ms'")
        pooler = started.pgbouncer(postgres)
        address = postgres.url("postgres", user="patient", through=pooler)

        with psycopg.connect(address, autocommit=True) as client, pytest.raises(psycopg.errors.QueryCanceled):
            client.execute("SELECT pg_sleep(5)")


class TestAPreparedStatement:
    def test_conflicts_with_one_of_another_client(self, clients):
        one, other = clients
        one.prepare_threshold = other.prepare_threshold = 0
        one.execute("SELECT 1")

        with pytest.raises(psycopg.errors.DuplicatePreparedStatement):
            other.execute("SELECT 2")

        one.execute("DEALLOCATE ALL")


class TestARequestThatGetsNoConnection:
    def test_gets_a_503(self, started, postgres):
        create_migrated(postgres, "busy")
        pooler = started.pgbouncer(postgres, default_pool_size="1", query_wait_timeout="1")
        address = postgres.url("busy", user="countonme", through=pooler)
        copy = started.copy("busy", address, DATABASE_POOLER="transaction")

        assert copy.status("/readyz") == 200
        with psycopg.connect(address) as holder:
            holder.execute("SELECT 1")  # opens a transaction, which occupies the connection
            assert copy.status("/readyz") == 503
        assert copy.status("/readyz") == 200


class TestASlowStatement:
    def test_is_cancelled_and_fails_alone(self, started, postgres):
        create_migrated(postgres, "slow")
        postgres.run(SLEEP, database="slow")
        pooler = started.pgbouncer(postgres, default_pool_size="2")
        address = postgres.url("slow", user="countonme", through=pooler)
        copy = started.copy("slow", address, DATABASE_POOLER="transaction", WEB_CONCURRENCY="1")

        with WritingPhone(copy.port) as one, WritingPhone(copy.port) as other, ThreadPoolExecutor(1) as pool:
            statuses = []
            for _ in range(3):
                slow = pool.submit(one.post, "/v1/products", {"name": "Slow", "kcal_100g": 1})
                while not slow.done():
                    statuses.append(other.get("/v1/products").status_code)
                    time.sleep(0.02)
                assert slow.result().status_code == 503
            assert one.get("/v1/products").json() == []

        assert len(statuses) > 10
        assert set(statuses) == {200}
        assert copy.log.read_text().count(TooSlow.log_line) == 3
        assert "The database did not answer" not in copy.log.read_text()
        sleeping = "SELECT pid FROM pg_stat_activity WHERE datname = 'slow' AND wait_event = 'PgSleep'"
        assert postgres.run(sleeping) == []
