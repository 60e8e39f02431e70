"""Start and stop programs that listen on a port. Start a PostgreSQL server in a temporary folder."""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg

from tests.harness.phone import Phone

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT = 60  # seconds to wait for a process
NEWEST_FIRST = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: -float(path.parent.name))
PLACES = [*os.environ["PATH"].split(":"), "/usr/sbin", *map(str, NEWEST_FIRST)]


class NotInstalled(SystemExit):
    """A required program is not installed. .ci/run installs it."""


def program(name: str) -> str:
    """Return the path of a program, which is in PATH or where Debian installs it."""
    found = shutil.which(name, path=":".join(PLACES))
    if found is None:
        raise NotInstalled(f"{name} is not installed.")
    return found


def as_owner(*command: str) -> list[str]:
    """Return the command, prefixed for root to run it as the user `postgres`: PostgreSQL and PgBouncer refuse root."""
    first, *rest = command
    return [*(["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []), program(first), *rest]


@contextmanager
def folder_of_owner() -> Iterator[Path]:
    """Create a folder that the user of `as_owner` can write to, and delete it at the end of the block."""
    with TemporaryDirectory(prefix="countonme.") as folder:
        if os.getuid() == 0:
            shutil.chown(folder, "postgres")
        yield Path(folder)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until(true: Callable[[], bool], what: str, timeout: float = TIMEOUT) -> None:
    """Wait until a condition is true. A connection error counts as false. Raise TimeoutError after `timeout` seconds.

    `what` is the message of the TimeoutError.
    """
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        with suppress(OSError, HTTPException):
            if true():
                return
        time.sleep(0.02)
    raise TimeoutError(what)


@dataclass
class Process:
    """A program that listens on a port. It has its own process group, so that its child processes are stopped too."""

    name: str
    command: list[str]
    environment: dict[str, str] = field(default_factory=dict)
    port: int = 0
    log: Path = Path(os.devnull)
    folder: Path = ROOT
    process: subprocess.Popen | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        command = [part.replace("{port}", str(self.port)) for part in self.command]
        environment = {**os.environ, **self.environment, "PORT": str(self.port)}
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                command, cwd=self.folder, env=environment, stdout=log, stderr=log, start_new_session=True
            )
        with suppress(TimeoutError):
            wait_until(lambda: self.has_ended() or self.is_ready(), self.name)
            if not self.has_ended():
                return
        raise SystemExit(f"{self.name} did not start:\n{self.log.read_text()}")

    def is_ready(self) -> bool:
        socket.create_connection(("127.0.0.1", self.port)).close()
        return True

    def status(self, path: str) -> int:
        """Return the status of the response to a GET request."""
        return Phone(self.port, timeout=TIMEOUT).get(path).status_code

    def has_ended(self) -> bool:
        return self.process is None or self.process.poll() is not None

    def signal(self, number: int) -> None:
        os.killpg(self.process.pid, number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        if self.has_ended():
            return
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.kill()


class Postgres:
    """A PostgreSQL server. Its log and its socket are in the folder that contains its data folder.

    It has PostgreSQL's default settings, except for `settings`, so that it is as durable as in production.
    """

    def __init__(self, data: Path, settings: dict[str, str]):
        self.data, self.port = data, free_port()
        here = {"listen_addresses": "127.0.0.1", "port": str(self.port), "unix_socket_directories": str(data.parent)}
        self.settings = here | settings

    def start(self) -> None:
        options = " ".join(f"-c {name}={value}" for name, value in self.settings.items())
        self.control("start", f"--log={self.data}.log", "--wait", f"--options={options}")

    def control(self, *command: str) -> None:
        run_as_owner("pg_ctl", f"--pgdata={self.data}", *command)

    def stop(self) -> None:
        """Stop without a clean shutdown, as after a power failure."""
        if (self.data / "postmaster.pid").exists():
            self.control("stop", "--mode=immediate")

    def url(self, database: str = "postgres", *, user: str = "postgres", through: Process | None = None) -> str:
        return f"postgres://{user}@127.0.0.1:{(through or self).port}/{database}"

    def run(self, statement: str, *params, database: str = "postgres") -> list[tuple]:
        """Run a statement and return its rows, if it has any."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            cursor = connection.execute(statement, params or None)
            return cursor.fetchall() if cursor.description else []


@contextmanager
def postgres(data: Path, **settings: str) -> Iterator[Postgres]:
    """Run a server inside the block, on an existing data folder or on a new one."""
    if not data.exists():
        run_as_owner(
            "initdb", f"--pgdata={data}", "--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-sync"
        )
    server = Postgres(data, settings)
    try:
        server.start()
        yield server
    finally:
        server.stop()


def run_as_owner(*command: str) -> None:
    subprocess.run(as_owner(*command), stdout=subprocess.DEVNULL, cwd="/", check=True)  # any user can enter it
