"""Run a command behind PgBouncer, on a PostgreSQL of its own: `python -m tests.e2e.scaling.pooled pytest --reuse-db`.

The command finds the database in DATABASE_URL. The tests' own and the notebook's are made before, by a direct
connection, and never removed: PgBouncer keeps connections to them, which DROP DATABASE does not like. They go with
their server.
"""

import os
import subprocess
import sys

from tests.e2e.scaling.machines import machines, migrated


def main(command: list[str]) -> int:
    with machines() as started:
        server = started.postgres()
        server.run("CREATE ROLE countonme LOGIN SUPERUSER")  # the tests make databases of their own
        migrated(server, "test_pooled")
        migrated(server, "test_pooled_notebook", DJANGO_SETTINGS_MODULE="ownership.tests.notebook.settings")
        pooler = started.pgbouncer(server)
        address = server.url("pooled", user="countonme", through=pooler)
        environment = {**os.environ, "DATABASE_URL": address, "DATABASE_POOLER": "transaction"}
        return subprocess.run(command, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
