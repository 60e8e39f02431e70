"""Run the service as `make run` does: gunicorn with its workers, on a separate database."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from django.db import connection

from countonme.serving.sizing import threads_for, workers_for
from tests.harness.databases import create_databases, url_of
from tests.harness.machine import workers_of
from tests.harness.phone import Phone
from tests.harness.processes import wait_until
from tests.harness.servers import Server, migrate, our_server, run_servers


class Service:
    """A running service, and a phone that calls it."""

    def __init__(self, server: Server):
        self.server, self.process, self.phone = server, server.process, Phone(server.port)

    def workers(self) -> set[int]:
        return set(workers_of(self.process.pid))

    def wait_for_others(self, than: set[int]) -> None:
        """Wait until all of these workers have been replaced."""
        wait_until(lambda: len(now := self.workers()) == len(than) and not now & than, "the workers were not replaced")
        time.sleep(1)  # a worker process exists before it accepts requests

    def lines(self) -> list[dict]:
        """Return the lines of a JSON log."""
        return [json.loads(line) for line in self.server.log.read_text().splitlines()]

    def register(self) -> str:
        """Register a new phone, which replaces `phone`. Return its device id."""
        self.phone = Phone(self.server.port)
        self.phone.register()
        return self.phone.device_id


@contextmanager
def serve(database_url: str, log: Path, **environment: str) -> Iterator[Service]:
    """Serve the database inside the block. SQLite gets the default number of workers and threads."""
    if database_url.startswith("sqlite"):
        by_default = {"WEB_CONCURRENCY": str(workers_for("sqlite")), "WEB_THREADS": str(threads_for("sqlite"))}
        environment = by_default | environment
    server = our_server(database_url, **environment)
    with run_servers(server, log=log):
        yield Service(server)


@contextmanager
def live_database(folder: Path) -> Iterator[str]:
    """Create a migrated database of the tests' kind, SQLite or PostgreSQL, for this block. Yield its URL."""
    if connection.vendor == "sqlite":
        url = f"sqlite:///{folder / 'db.sqlite3'}"
        migrate(url)
        yield url
        return
    name, server = f"{connection.settings_dict['NAME']}_live", server_of_tests()
    with create_databases(name, server=server):
        migrate(url_of(name, server))
        yield url_of(name, server)


def server_of_tests(port: int | None = None) -> str:
    """Return the URL of the PostgreSQL server that the tests run on, or of a proxy to it on this machine's `port`."""
    here = connection.settings_dict
    user = quote(here["USER"], safe="") + (f":{quote(here['PASSWORD'], safe='')}" if here["PASSWORD"] else "")
    host, own = ("127.0.0.1", port) if port else (here["HOST"] or "127.0.0.1", here["PORT"] or 5432)
    return f"postgres://{user}@{host}:{own}"
