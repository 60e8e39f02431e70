from collections.abc import Iterator

import pytest

from tests.e2e.scaling.machines import Machines, machines
from tests.harness.processes import NotInstalled, Postgres, Process, program

LOG = {"logging_collector": "on", "log_destination": "jsonlog", "log_filename": "server"}
NEEDED = ("initdb", "pg_basebackup", "pgbouncer", "nginx", "redis-server")


@pytest.fixture(scope="session")
def started() -> Iterator[Machines]:
    """The machines that the tests start. Exit if a required program is not installed."""
    try:
        for name in NEEDED:
            program(name)
    except NotInstalled as missing:
        pytest.exit(str(missing), 1)
    with machines() as all_of_them:
        yield all_of_them


@pytest.fixture(scope="session")
def postgres(started) -> Postgres:
    server = started.postgres(**LOG, log_directory=str(started.folder))
    server.run("CREATE ROLE countonme LOGIN")
    return server


@pytest.fixture(scope="session")
def pooler(started, postgres) -> Process:
    """PgBouncer with fewer connections than clients, so that clients share connections."""
    return started.pgbouncer(postgres, default_pool_size="3")
