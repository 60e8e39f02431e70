"""The services that are compared: their databases, how they are started, and that they are stopped."""

import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from tests.harness.machine import workers_of
from tests.harness.processes import ROOT, Process, free_port

OURS_BIN = Path(sys.executable).parent
POSTGRES = os.environ.get("BENCH_POSTGRES", "postgres://postgres@127.0.0.1:5432").rstrip("/")
WORKERS = 2


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


@dataclass
class Server(Process):
    database: str = ""
    workers: list[int] = field(default_factory=list)
    count: int = WORKERS

    def start(self) -> None:
        super().start()
        time.sleep(1)  # a worker exists before it serves
        self.workers = workers_of(self.process.pid)
        if len(self.workers) != self.count:
            raise SystemExit(f"{self.name} has {len(self.workers)} workers instead of {self.count}")

    def is_ready(self) -> bool:
        """Say whether all workers are there; one of them answers, whatever it answers."""
        self.status("/healthz")
        return len(workers_of(self.process.pid)) == self.count


@contextmanager
def running(*servers: Server) -> Iterator[None]:
    """Serve inside of this block, and stop whatever happens."""
    with ExitStack() as started, tempfile.TemporaryDirectory() as logs:
        for server in servers:
            server.port, server.log = free_port(), Path(logs, f"{server.name}.log")
            started.callback(server.stop)
            server.start()
        yield


def ours(database: str, folder: Path = ROOT, name: str = "ours") -> Server:
    """Return the service, or that of another checkout."""
    command = [str(OURS_BIN / "gunicorn"), "countonme.wsgi"]
    return Server(name, command, our_environment(database), folder=folder, database=database)


SECRET_KEY = secrets.token_urlsafe(50)
FOLDER = tempfile.TemporaryDirectory(prefix="countonme.")  # of what a service writes outside of its database

UNLIMITED = str(10**9)
NO_LIMITS = {  # on what one device may do
    "REGISTER_RATE": f"{UNLIMITED}/min",
    "ROTATE_RATE": f"{UNLIMITED}/h",
    "DEVICE_RATE": f"{UNLIMITED}/min",
    "MAX_PRODUCTS": UNLIMITED,
    "MAX_PORTIONS": UNLIMITED,
    "MAX_PORTIONS_PER_PRODUCT": UNLIMITED,
    "MAX_FOOD_ENTRIES": UNLIMITED,
    "NEW_ROWS_FIRST_DAY": UNLIMITED,
    "NEW_ROWS_PER_DAY": UNLIMITED,
}


def our_environment(database: str) -> dict[str, str]:
    """Return production settings, with plain HTTP on this machine alone, and no limit on what one phone may do."""
    return {
        "SECRET_KEY": SECRET_KEY,
        "DEBUG": "off",
        "ALLOWED_HOSTS": "127.0.0.1",
        "HTTPS_ONLY": "off",
        "DATABASE_URL": url_of(database),
        "ERASURE_LEDGER": f"{FOLDER.name}/erasures.txt",
        **NO_LIMITS,
        "BCRYPT_ROUNDS": "4",
        "HOST": "127.0.0.1",
        "WEB_CONCURRENCY": str(WORKERS),
        "MALLOC_ARENA_MAX": "1",  # as in the Makefile
        "GUNICORN_CMD_ARGS": "--max-requests=0",  # whose worker is replaced meanwhile can't be measured
    }


# --- databases ------------------------------------------------------------------------------------


def url_of(database: str) -> str:
    return f"{POSTGRES}/{database}"


@contextmanager
def databases(*names: str) -> Iterator[None]:
    """Have new, empty databases of these names inside of this block; ones that a broken run left are replaced."""
    for name in names:
        drop(name)
        on_server(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C'")
    try:
        yield
    finally:
        for name in names:
            drop(name)


def drop(name: str) -> None:
    on_server(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def on_server(statement: str) -> None:
    try:
        with psycopg.connect(url_of("postgres"), autocommit=True, connect_timeout=5) as connection:
            connection.execute(statement)
    except psycopg.OperationalError as error:
        raise SystemExit(f"PostgreSQL does not answer; BENCH_POSTGRES says where it is.\n{error}") from error


def migrate_ours(database: str, folder: Path = ROOT) -> None:
    migrate(our_environment(database), folder)


def migrate(environment: dict[str, str], folder: Path = ROOT) -> None:
    manage(environment, "migrate", "--noinput", "--verbosity", "0", folder=folder)


def manage(environment: dict[str, str], *command: str, folder: Path = ROOT) -> None:
    """Run manage.py in an environment."""
    subprocess.run([sys.executable, "manage.py", *command], cwd=folder, env={**os.environ, **environment}, check=True)
