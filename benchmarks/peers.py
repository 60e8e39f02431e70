"""Start the services that CountOnMe is compared with, and create their database."""

import os
import subprocess

from tests.harness.databases import url_of
from tests.harness.processes import ROOT
from tests.harness.servers import OURS_BIN, WORKERS, Server, our_environment

PEER_BIN = ROOT / "benchmarks/.venv/bin"


def limit(database: str) -> Server:
    command = [str(OURS_BIN / "gunicorn"), "benchmarks.peer_raw:application"]
    return Server("limit", command, our_environment(url_of(database)), database=database)


def fastapi(database: str) -> Server:
    command = [str(PEER_BIN / "python"), "-m", "benchmarks.peer_workers"]
    return Server("FastAPI (uvloop)", command, peer_environment(database), database=database)


def peer_environment(database: str) -> dict[str, str]:
    rest = url_of(database).partition("://")[2]
    return {"PEER_DATABASE_URL": f"postgresql+asyncpg://{rest}", "WEB_CONCURRENCY": str(WORKERS)}


def create_peer(database: str) -> None:
    create = [str(PEER_BIN / "python"), "-m", "benchmarks.peer_fastapi"]
    subprocess.run(create, cwd=ROOT, env={**os.environ, **peer_environment(database)}, check=True)
