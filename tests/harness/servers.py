"""Start and stop the service, or another HTTP server with worker processes."""

import os
import re
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.harness.machine import workers_of
from tests.harness.processes import ROOT, Process, free_port

OURS_BIN = Path(sys.executable).parent
WORKERS = 2
SECRET_KEY = secrets.token_urlsafe(50)
FOLDER = tempfile.TemporaryDirectory(prefix="countonme.")  # for files that a service writes

UNLIMITED = str(10**9)
LIMITS = re.compile(r"^(\w+_RATE|MAX_\w+|NEW_ROWS_\w+) = env\.", re.MULTILINE)
NO_LIMITS = {
    name: f"{UNLIMITED}/min" if name.endswith("_RATE") else UNLIMITED
    for name in LIMITS.findall((ROOT / "countonme/settings.py").read_text())
}


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


@dataclass
class Server(Process):
    database: str = ""  # its name, by which its connections are found
    workers: list[int] = field(default_factory=list)
    count: int = WORKERS

    def start(self) -> None:
        super().start()
        time.sleep(1)  # a worker process exists before it accepts requests
        self.workers = workers_of(self.process.pid)
        if len(self.workers) != self.count:
            raise SystemExit(f"{self.name} has {len(self.workers)} workers instead of {self.count}")

    def is_ready(self) -> bool:
        """Return whether all workers exist. The request fails if none of them responds; its status doesn't matter."""
        self.status("/healthz")
        return len(workers_of(self.process.pid)) == self.count


@contextmanager
def run_servers(*servers: Server, log: Path | None = None) -> Iterator[None]:
    """Run servers on free ports inside the block."""
    with ExitStack() as started, tempfile.TemporaryDirectory() as logs:
        for server in servers:
            server.port, server.log = free_port(), log or Path(logs, f"{server.name}.log")
            started.callback(server.stop)
            server.start()
        yield


# --- our service ----------------------------------------------------------------------------------


def our_server(database_url: str, *, folder: Path = ROOT, name: str = "ours", **environment: str) -> Server:
    """Return the service of this checkout, or of another checkout in `folder`."""
    environment = our_environment(database_url, **environment)
    return Server(
        name,
        [str(OURS_BIN / "gunicorn"), "countonme.wsgi"],
        environment,
        folder=folder,
        database=database_url.rpartition("/")[2],
        count=int(environment["WEB_CONCURRENCY"]),
    )


def our_environment(database_url: str, **environment: str) -> dict[str, str]:
    """Return production settings, but with plain HTTP on 127.0.0.1, and without rate limits and quotas."""
    return {
        "SECRET_KEY": SECRET_KEY,
        "DEBUG": "off",
        "ALLOWED_HOSTS": "127.0.0.1",
        "HTTPS_ONLY": "off",
        "DATABASE_URL": database_url,
        "ERASURE_LEDGER": f"{FOLDER.name}/erasures.txt",
        **NO_LIMITS,
        "BCRYPT_ROUNDS": "4",
        "HOST": "127.0.0.1",
        "WEB_CONCURRENCY": str(WORKERS),
        "MALLOC_ARENA_MAX": "1",  # as in the Makefile
        "GUNICORN_CMD_ARGS": "--max-requests=0",  # a measurement fails if a worker is replaced
        **environment,
    }


def migrate(database_url: str, *, folder: Path = ROOT, **environment: str) -> None:
    manage(our_environment(database_url, **environment), "migrate", "--noinput", "--verbosity", "0", folder=folder)


def manage(environment: dict[str, str], *command: str, folder: Path = ROOT) -> None:
    """Run a command of manage.py with these environment variables."""
    subprocess.run([sys.executable, "manage.py", *command], cwd=folder, env={**os.environ, **environment}, check=True)
