"""Run a command beside a live service of several workers, on a new database: `python -m clients.live npm test`.

The command finds the service's address in COUNTONME_URL; manage.py and `python -m clients.backup`, run by it, work on
the service's database. BENCH_POSTGRES is PostgreSQL's address without a database.
"""

import os
import secrets
import signal
import subprocess
import sys

from benchmarks.servers import databases, migrate_ours, our_environment, ours, running
from clients.backup import backup_of


def main(command: list[str]) -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what is started is stopped
    database = f"countonme_clients_{secrets.token_hex(4)}"  # two runs at once don't meet
    with databases(database, backup_of(database)):
        migrate_ours(database)
        server = ours(database)
        with running(server):
            environment = {**os.environ, **our_environment(database), "COUNTONME_URL": f"{server.url}/v1"}
            return subprocess.run(command, env=environment, check=False).returncode  # noqa: S603 - the caller's own


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
