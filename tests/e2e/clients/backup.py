"""Back up the live service's database, or replace the database with the backup.

`python -m tests.e2e.clients.backup take`, or `… restore`. Client tests use it to test what an app does after a restore.
The service keeps running, and must not get requests meanwhile.
"""

import os
import sys

from tests.harness.databases import drop_database, run_on_server


def backup_of(database: str) -> str:
    return f"{database}_backup"


def take(database: str) -> None:
    drop_database(backup_of(database))
    # PostgreSQL copies a database only if it has no connections. The workers reconnect at the next request.
    run_on_server(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'")
    run_on_server(f"CREATE DATABASE {backup_of(database)} TEMPLATE {database}")


def restore(database: str) -> None:
    drop_database(database)
    run_on_server(f"ALTER DATABASE {backup_of(database)} RENAME TO {database}")


if __name__ == "__main__":
    {"take": take, "restore": restore}[sys.argv[1]](os.environ["DATABASE_URL"].rpartition("/")[2])
