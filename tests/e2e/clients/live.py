"""Run a command against a live service with several workers and a new database.

Example: `python -m tests.e2e.clients.live npm test`. The command gets the service's address in COUNTONME_URL. If it
runs manage.py or `python -m tests.e2e.clients.backup`, they use the service's database.

BENCH_POSTGRES is PostgreSQL's address without a database.
"""

import os
import secrets
import signal
import subprocess
import sys

from tests.e2e.clients.backup import backup_of
from tests.harness.databases import create_databases, url_of
from tests.harness.servers import migrate, our_server, run_servers


def main(command: list[str]) -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # exit normally, to stop the service
    database = f"countonme_clients_{secrets.token_hex(4)}"  # random, so that two runs can run at once
    with create_databases(database, backup_of(database)):
        migrate(url_of(database))
        server = our_server(url_of(database))
        with run_servers(server):
            environment = {**os.environ, **server.environment, "COUNTONME_URL": f"{server.url}/v1"}
            return subprocess.run(command, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
