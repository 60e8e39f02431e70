"""The service as `make run` serves it: gunicorn, its workers, and a database of its own."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import psycopg
from django.db import connection

from countonme.serving.sizing import threads_for, workers_for
from tests.harness.machine import workers_of
from tests.harness.phone import Phone
from tests.harness.processes import free_port, until
from tests.harness.servers import Server, migrate, ours


class Service:
    """A running service, and a phone that calls it."""

    def __init__(self, server: Server):
        self.server, self.process, self.phone = server, server.process, Phone(server.port)

    def workers(self) -> set[int]:
        return set(workers_of(self.process.pid))

    def wait_for_others(self, than: set[int]) -> None:
        """Return when as many new workers serve in the place of these."""
        until(lambda: len(now := self.workers()) == len(than) and not now & than, "no others serve")
        time.sleep(1)  # a worker exists before it serves

    def lines(self) -> list[dict]:
        """Return the log, which is JSON."""
        return [json.loads(line) for line in self.server.log.read_text().splitlines()]

    def register(self) -> str:
        """Call the service with a new phone from now on; return the phone's id."""
        self.phone = Phone(self.server.port)
        self.phone.register()
        return self.phone.device_id


@contextmanager
def served(database_url: str, log: Path, **environment: str) -> Iterator[Service]:
    """Serve the database inside of this block. SQLite is served by as many workers and threads as it is by default."""
    server = ours("")
    server.port, server.log = free_port(), log
    server.environment |= {"BCRYPT_ROUNDS": "4", "DATABASE_URL": database_url, **environment}
    if database_url.startswith("sqlite"):
        server.count = workers_for("sqlite")
        server.environment |= {"WEB_CONCURRENCY": str(server.count), "WEB_THREADS": str(threads_for("sqlite"))}
    try:
        server.start()
        yield Service(server)
    finally:
        server.stop()


@contextmanager
def live_database(folder: Path) -> Iterator[str]:
    """Have a new, migrated database inside of this block, of the kind that the tests run on; yield its URL."""
    name = f"{connection.settings_dict['NAME']}_live"
    if connection.vendor == "sqlite":
        url = f"sqlite:///{folder / 'db.sqlite3'}"
        migrate({"DATABASE_URL": url})
        yield url
        return
    on_server(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
    on_server(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'")
    try:
        migrate({"DATABASE_URL": url_of(name)})
        yield url_of(name)
    finally:
        on_server(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def url_of(name: str, port: int | None = None) -> str:
    """Return the URL of a database on the tests' server, or of one that a port of this machine leads to."""
    here = connection.settings_dict
    user = quote(here["USER"], safe="") + (f":{quote(here['PASSWORD'], safe='')}" if here["PASSWORD"] else "")
    host, own = ("127.0.0.1", port) if port else (here["HOST"] or "127.0.0.1", here["PORT"] or 5432)
    return f"postgres://{user}@{host}:{own}/{name}"


def on_server(statement: str) -> None:
    with psycopg.connect(url_of("postgres"), autocommit=True) as server:
        server.execute(statement)
