"""Machines of one's own: PostgreSQL, a replica, PgBouncer, nginx, Redis and copies of the service, each a process.

All of them live in one folder and listen on 127.0.0.1 alone. PgBouncer and nginx run with the files beside this one,
less their addresses.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).parent
USERS = """SELECT format('"%s" "%s"', rolname, rolpassword) FROM pg_authid WHERE rolcanlogin"""
PATIENCE = 60  # seconds for a process to answer
PLACES = [*os.environ["PATH"].split(":"), "/usr/sbin", *sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin")))]


class NotInstalled(RuntimeError):
    """A program that the tests need is not there. .ci/run installs it."""


def program(name: str) -> str:
    found = shutil.which(name, path=":".join(PLACES))
    if found is None:
        raise NotInstalled(f"{name} is not installed: postgresql, pgbouncer, nginx and redis-server are needed")
    return found


def as_owner(*command: str) -> list[str]:
    """Return the command as a user that PostgreSQL and PgBouncer run as: they refuse root."""
    first, *rest = command
    return [*(["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []), program(first), *rest]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def until(true: Callable[[], bool], what: str, patience: float = PATIENCE) -> None:
    """Return when it is true; raise TimeoutError when it takes too long."""
    end = time.monotonic() + patience
    while not true():
        if time.monotonic() > end:
            raise TimeoutError(what)
        time.sleep(0.02)


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Machines:
    """What runs, in the order in which it was started; it is stopped the other way round, whatever happens."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.running = ExitStack()
        if os.getuid() == 0:
            shutil.chown(folder, "postgres")

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(text)
        return path

    def process(self, name: str, command: list[str], port: int, **environment: str) -> "Process":
        process = Process(name, command, port, self.folder / f"{name}.log", environment)
        self.running.callback(process.stop)
        process.start()
        return process

    # --- PostgreSQL --------------------------------------------------------------------------------

    def postgres(self, **settings: str) -> "Postgres":
        data = self.folder / "primary"
        subprocess.run(
            as_owner(
                "initdb", f"--pgdata={data}", "--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-sync"
            ),
            check=True,
            stdout=subprocess.DEVNULL,
        )
        return self.serving("primary", fsync="off", **settings)

    def replica_of(self, primary: "Postgres", **settings: str) -> "Postgres":
        """Return a standby that follows by streaming."""
        name = f"replica-{free_port()}"
        copy = [f"--pgdata={self.folder / name}", "--write-recovery-conf", "--checkpoint=fast", "--no-sync"]
        command = as_owner("pg_basebackup", "--host=127.0.0.1", f"--port={primary.port}", "--username=postgres", *copy)
        subprocess.run(command, check=True)
        return self.serving(name, **settings)

    def serving(self, name: str, **settings: str) -> "Postgres":
        server = Postgres(self.folder / name, free_port())
        given = {"listen_addresses": "127.0.0.1", "unix_socket_directories": str(self.folder), **settings}
        options = " ".join(f"-c {key}={value}" for key, value in {"port": str(server.port), **given}.items())
        log = [f"--log={self.folder / name}.log", "--wait", f"--options={options}"]
        self.running.callback(server.stop)
        server.control("start", *log)
        return server

    # --- between the service and PostgreSQL, in front of it, and beside it ----------------------------

    def pgbouncer(self, server: "Postgres", **settings: str) -> "Process":
        """Start PgBouncer with the operator's file, and these settings instead of its own."""
        port = free_port()
        users = self.write(f"userlist-{port}.txt", "".join(f"{line}\n" for (line,) in server.run(USERS)))
        text = (HERE / "pgbouncer.ini").read_text().replace("port=5432", f"port={server.port}")
        changed = {"listen_port": str(port), "auth_type": "trust", "auth_file": str(users)}
        for key, value in (changed | {"unix_socket_dir": ""} | settings).items():
            text = re.sub(rf"^{key} = .*\n", "", text, flags=re.M) + f"{key} = {value}\n"
        path = self.write(f"pgbouncer-{port}.ini", f"{text}admin_users = postgres\n")
        return self.process(f"pgbouncer-{port}", as_owner("pgbouncer", str(path)), port)

    def nginx(self, copies: list["Process"]) -> "Process":
        """Start nginx with the operator's file in front of the copies."""
        port = free_port()
        text = (HERE / "nginx.conf").read_text()
        text = text.replace("listen 80;", f"listen 127.0.0.1:{port};").replace("api.example.org", "127.0.0.1")
        for place, copy in enumerate(copies):
            text = text.replace(f"10.0.0.{11 + place}:8000", f"127.0.0.1:{copy.port}")
        temporary = "".join(
            f"{kind}_temp_path {self.folder}/nginx-{kind};\n"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        path = self.write(
            "nginx.conf",
            f"pid {self.folder}/nginx.pid; daemon off; worker_processes 1; error_log stderr;\n"
            "events {} http {\nlog_format asked '$upstream_addr $status';\n"
            f"access_log {self.folder}/asked.log asked;\n{temporary}{text}}}\n",
        )
        return self.process("nginx", as_owner("nginx", "-e", "stderr", "-c", str(path)), port)

    def redis(self) -> "Process":
        port = free_port()
        return self.process("redis", [program("redis-server"), "--port", str(port), "--save", ""], port)

    def copy(self, name: str, database: str, **environment: str) -> "Process":
        """Start a copy of the service, with production's settings but for TLS, on two workers."""
        port = free_port()
        gunicorn = [sys.executable, "-m", "gunicorn", "countonme.wsgi"]
        return self.process(name, gunicorn, port, **service(database) | {"PORT": str(port)} | environment)


class Process:
    """A program that listens on a port, in a group of its own, so that the whole of it is stopped and nothing else."""

    def __init__(self, name: str, command: list[str], port: int, log: Path, environment: dict[str, str]):
        self.name, self.command, self.port, self.log, self.environment = name, command, port, log, environment
        self.process: subprocess.Popen | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                self.command,
                cwd=ROOT,
                env={**os.environ, **self.environment},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        until(lambda: self.has_ended() or answers(self.port), f"{self.name} does not answer")
        if self.has_ended():
            raise RuntimeError(f"{self.name} did not start:\n{self.log.read_text()}")

    def status(self, path: str) -> int:
        """Return the status of the answer to a GET."""
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)) as connection:
            connection.request("GET", path)
            return connection.getresponse().status

    def has_ended(self) -> bool:
        return self.process.poll() is not None

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
    def __init__(self, data: Path, port: int):
        self.data, self.port = data, port

    def control(self, *command: str) -> None:
        subprocess.run(as_owner("pg_ctl", f"--pgdata={self.data}", *command), check=True, stdout=subprocess.DEVNULL)

    def stop(self) -> None:
        if (self.data / "postmaster.pid").exists():
            self.control("stop", "--mode=immediate")

    def url(self, database: str = "postgres", *, user: str = "postgres", through: Process | None = None) -> str:
        return f"postgres://{user}@127.0.0.1:{(through or self).port}/{database}"

    def run(self, statement: str, *params, database: str = "postgres") -> list[tuple]:
        """Run a statement and return its rows, if it has any."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            cursor = connection.execute(statement, params or None)
            return cursor.fetchall() if cursor.description else []

    def migrated(self, database: str) -> str:
        """Create the service's database and migrate it, without a pooler between; return its address."""
        self.run(f'CREATE DATABASE "{database}" OWNER countonme TEMPLATE template0 LOCALE "C"')
        address = self.url(database, user="countonme")
        manage(address, "migrate", "--noinput", "--verbosity", "0")
        return address


def service(database: str) -> dict[str, str]:
    return {
        "ALLOWED_HOSTS": "127.0.0.1",
        "BCRYPT_ROUNDS": "4",
        "CACHE_URL": "locmemcache://",
        "DATABASE_POOLER": "",
        "DATABASE_URL": database,
        "DEBUG": "off",
        "GUNICORN_CMD_ARGS": "--graceful-timeout=1",
        "HOST": "127.0.0.1",
        "HTTPS_ONLY": "off",
        "MALLOC_ARENA_MAX": "1",
        "NUM_PROXIES": "1",
        "REGISTER_RATE": "1000000/min",
        "SECRET_KEY": "only-for-tests-" * 4,
        "WEB_CONCURRENCY": "2",
    }


def manage(database: str, *command: str) -> None:
    """Run manage.py on a database."""
    environment = {**os.environ, **service(database)}
    subprocess.run([sys.executable, "manage.py", *command], cwd=ROOT, env=environment, check=True)


@contextmanager
def machines() -> Iterator[Machines]:
    """Have what is started inside of this block, and nothing of it after."""
    with TemporaryDirectory(prefix="countonme.") as folder:
        started = Machines(Path(folder))
        with started.running:
            yield started
