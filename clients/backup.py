"""Back up the live service's database, or put the backup in its place: `python -m clients.backup take`, `… restore`.

For the tests of what a phone does after a restore. The service goes on running, with nobody asking it meanwhile.
"""

import sys

from benchmarks.servers import drop, on_server
from clients.live import BACKUP, DATABASE


def take() -> None:
    drop(BACKUP)
    # A database is copied while nobody is connected to it; the workers connect again at the next request.
    on_server(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{DATABASE}'")  # noqa: S608
    on_server(f"CREATE DATABASE {BACKUP} TEMPLATE {DATABASE}")


def restore() -> None:
    drop(DATABASE)
    on_server(f"ALTER DATABASE {BACKUP} RENAME TO {DATABASE}")


if __name__ == "__main__":
    {"take": take, "restore": restore}[sys.argv[1]]()
