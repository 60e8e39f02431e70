"""The services that CountOnMe is compared with: how they are started, and their database."""

import os
import subprocess

from tests.harness.processes import ROOT
from tests.harness.servers import OURS_BIN, WORKERS, Server, our_environment, url_of

PEER_BIN = ROOT / "benchmarks/.venv/bin"
TODAY_BIN = ROOT / "benchmarks/.venv-today/bin"


def limit(database: str) -> Server:
    command = [str(OURS_BIN / "gunicorn"), "benchmarks.peer_raw:application"]
    return Server("limit", command, our_environment(database), database=database)


def fastapi(database: str, *, today: bool = False, **environment: str) -> Server:
    """Return the peer under uvicorn: with the versions that its document names, or with those of today and uvloop."""
    command = [str((TODAY_BIN if today else PEER_BIN) / "uvicorn"), "benchmarks.peer_fastapi:app", "--port", "{port}"]
    command += ["--workers", str(WORKERS), "--no-access-log", "--log-level", "warning"]
    name = "FastAPI today" if today else "FastAPI"
    return Server(name, command, {**peer_environment(database), **environment}, database=database)


def peer_environment(database: str) -> dict[str, str]:
    rest = url_of(database).partition("://")[2]
    return {"PEER_DATABASE_URL": f"postgresql+asyncpg://{rest}", "PYTHONPATH": str(ROOT)}


def create_peer(database: str) -> None:
    create = [str(PEER_BIN / "python"), "-m", "benchmarks.peer_fastapi"]
    subprocess.run(create, cwd=ROOT, env={**os.environ, **peer_environment(database)}, check=True)
