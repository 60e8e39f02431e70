"""Start PostgreSQL, a replica, PgBouncer, nginx, Redis and copies of the service, as processes on this machine.

All of them use one folder and listen only on 127.0.0.1. PgBouncer and nginx run with the configuration files in
deploy/scaling, with other addresses.
"""

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.harness.processes import (
    ROOT,
    Postgres,
    Process,
    as_owner,
    folder_of_owner,
    free_port,
    postgres,
    program,
    run_as_owner,
)
from tests.harness.servers import migrate, our_environment, our_server

CONFIGURATION = ROOT / "deploy/scaling"
SETTINGS = {
    "CACHE_URL": "locmemcache://",
    "DATABASE_POOLER": "",
    "GUNICORN_CMD_ARGS": "--graceful-timeout=1",
    "NUM_PROXIES": "1",
}
USERS = """SELECT format('"%s" "%s"', rolname, rolpassword) FROM pg_authid WHERE rolcanlogin"""


class Machines:
    """The running processes. They are stopped in the reverse order of their start, also after an error."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.running = ExitStack()

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(text)
        return path

    def process(self, name: str, command: list[str], port: int) -> Process:
        return self.start(Process(name, command, port=port))

    def start(self, process: Process) -> Process:
        process.log = self.folder / f"{process.name}.log"
        self.running.callback(process.stop)
        process.start()
        return process

    # --- PostgreSQL --------------------------------------------------------------------------------

    def postgres(self, **settings: str) -> Postgres:
        return self.running.enter_context(postgres(self.folder / "primary", fsync="off", **settings))

    def replica_of(self, primary: Postgres, **settings: str) -> Postgres:
        """Start a standby with streaming replication."""
        data = self.folder / f"replica-{free_port()}"
        copy = [f"--pgdata={data}", "--write-recovery-conf", "--checkpoint=fast", "--no-sync"]
        run_as_owner("pg_basebackup", "--host=127.0.0.1", f"--port={primary.port}", "--username=postgres", *copy)
        return self.running.enter_context(postgres(data, **settings))

    # --- PgBouncer, nginx, Redis and the service ---------------------------------------------------

    def pgbouncer(self, server: Postgres, **settings: str) -> Process:
        """Start PgBouncer with deploy/scaling/pgbouncer.ini. These settings replace those of the file."""
        port = free_port()
        users = self.write(f"userlist-{port}.txt", "".join(f"{line}\n" for (line,) in server.run(USERS)))
        text = (CONFIGURATION / "pgbouncer.ini").read_text().replace("port=5432", f"port={server.port}")
        changed = {"listen_port": str(port), "auth_type": "trust", "auth_file": str(users)}
        for key, value in (changed | {"unix_socket_dir": ""} | settings).items():
            text = re.sub(rf"^{key} = .*\n", "", text, flags=re.M) + f"{key} = {value}\n"
        path = self.write(f"pgbouncer-{port}.ini", f"{text}admin_users = postgres\n")
        return self.process(f"pgbouncer-{port}", as_owner("pgbouncer", str(path)), port)

    def nginx(self, copies: list[Process]) -> Process:
        """Start nginx with deploy/scaling/nginx.conf in front of the copies."""
        port = free_port()
        text = (CONFIGURATION / "nginx.conf").read_text()
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
            "events {} http {\nlog_format upstreams '$upstream_addr $status';\n"
            f"access_log {self.folder}/upstreams.log upstreams;\n{temporary}{text}}}\n",
        )
        return self.process("nginx", as_owner("nginx", "-e", "stderr", "-c", str(path)), port)

    def redis(self) -> Process:
        port = free_port()
        return self.process("redis", [program("redis-server"), "--port", str(port), "--save", ""], port)

    def copy(self, name: str, database: str, **environment: str) -> Process:
        """Start a copy of the service with two workers, and with production settings except for TLS."""
        server = our_server(database, **SETTINGS | environment)
        server.name, server.port = name, free_port()
        return self.start(server)


def create_migrated(server: Postgres, database: str, **environment: str) -> str:
    """Create and migrate a database for the service, over a direct connection. Return its URL."""
    server.run(f'CREATE DATABASE "{database}" OWNER countonme TEMPLATE template0 LOCALE "C"')
    address = server.url(database, user="countonme")
    migrate(address, **SETTINGS | environment)
    return address


def settings_for(database: str) -> dict[str, str]:
    return our_environment(database, **SETTINGS)


@contextmanager
def machines() -> Iterator[Machines]:
    """Yield an object that starts machines, and stop them all at the end of the block."""
    with folder_of_owner() as folder:
        started = Machines(folder)
        with started.running:
            yield started
