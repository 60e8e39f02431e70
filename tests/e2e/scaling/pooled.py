"""Run a command behind PgBouncer, on a PostgreSQL of its own: `python -m tests.e2e.scaling.pooled pytest --reuse-db`.

The command gets the database in DATABASE_URL. The databases of the tests and of the notebook app are created before, on
a direct connection. They are not dropped, because PgBouncer keeps connections to them. The whole server is deleted.
"""

import os
import subprocess
import sys

from tests.e2e.scaling.machines import create_migrated, machines


def main(command: list[str]) -> int:
    with machines() as started:
        server = started.postgres()
        server.run("CREATE ROLE countonme LOGIN SUPERUSER")  # the tests create databases
        create_migrated(server, "test_pooled")
        create_migrated(server, "test_pooled_notebook", DJANGO_SETTINGS_MODULE="ownership.tests.notebook.settings")
        pooler = started.pgbouncer(server)
        address = server.url("pooled", user="countonme", through=pooler)
        environment = {**os.environ, "DATABASE_URL": address, "DATABASE_POOLER": "transaction"}
        return subprocess.run(command, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
