"""Run a command beside a live service of several workers, on a new database: `python -m clients.live npm test`.

The command finds the service's address in COUNTONME_URL; manage.py and `python -m clients.backup`, run by it, work on
the service's database. BENCH_POSTGRES is PostgreSQL's address without a database.
"""

import os
import signal
import subprocess
import sys

from benchmarks.servers import databases, migrate_ours, our_environment, ours, running

DATABASE = "countonme_clients"
BACKUP = "countonme_clients_backup"


def main(command: list[str]) -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what is started is stopped
    with databases(DATABASE, BACKUP):
        migrate_ours(DATABASE)
        server = ours(DATABASE)
        with running(server):
            environment = {**os.environ, **our_environment(DATABASE), "COUNTONME_URL": f"{server.url}/v1"}
            return subprocess.run(command, env=environment, check=False).returncode  # noqa: S603 - the caller's own


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
