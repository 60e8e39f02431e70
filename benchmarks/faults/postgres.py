"""A PostgreSQL of one's own, to break: in a folder that goes with it, and as careful with its data as a real one."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from benchmarks.servers import free_port

SETTINGS = {"listen_addresses": "127.0.0.1", "fsync": "on", "full_page_writes": "on"}


@dataclass
class Postgres:
    folder: Path
    port: int
    settings: dict[str, str]

    def url(self, database: str) -> str:
        return f"postgres://postgres@127.0.0.1:{self.port}/{database}"

    def control(self, *arguments: str) -> None:
        data, log = self.folder / "data", self.folder / "log"
        as_owner("pg_ctl", f"--pgdata={data}", f"--log={log}", "--wait", *arguments)

    def start(self) -> None:
        options = {**SETTINGS, **self.settings, "port": self.port, "unix_socket_directories": self.folder}
        self.control("start", "--options=" + " ".join(f"-c {name}={value}" for name, value in options.items()))

    def crash(self) -> None:
        """Stop as if the power had gone, and start again from what is on the disk."""
        self.control("stop", "--mode=immediate")
        self.start()

    def cut(self, database: str) -> int:
        """Cut every connection to a database, whatever it is doing; return how many there were."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            cutting = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = %s"
            return connection.execute(cutting, [database]).fetchone()[0]


@contextmanager
def postgres(**settings: str) -> Iterator[Postgres]:
    """Have a new server inside of this block."""
    folder = Path(tempfile.mkdtemp(prefix="countonme-faults-"))
    try:
        if os.getuid() == 0:
            shutil.chown(folder, "postgres")
        as_owner("initdb", f"--pgdata={folder / 'data'}", "--username=postgres", "--auth=trust", "--encoding=UTF8")
        server = Postgres(folder, free_port(), settings)
        server.start()
        try:
            yield server
        finally:
            server.control("stop", "--mode=immediate")
    finally:
        shutil.rmtree(folder)


def as_owner(program: str, *arguments: str) -> None:
    """Run one of PostgreSQL's programs; PostgreSQL refuses to run as root."""
    command = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
    subprocess.run([*command, found(program), *arguments], stdout=subprocess.DEVNULL, cwd="/", check=True)


def found(program: str) -> str:
    """Return where a program is: on the path, or where Debian keeps it, in the folder of the newest version."""
    kept = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{program}"), key=lambda path: int(path.parts[-3]))
    path = shutil.which(program) or (kept and str(kept[-1]))
    if not path:
        raise SystemExit(f"{program} is not there: install PostgreSQL's server.")
    return path
