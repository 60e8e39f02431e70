"""Compare CountOnMe with FastAPI and with a bare WSGI function: `make bench`.

BENCH_ROUNDS and BENCH_SECONDS say how often and how long each call is timed on each server. BENCH_POSTGRES is
PostgreSQL's address without a database. BENCH_BEFORE is the folder of an earlier checkout, which is served too; then
the results are printed instead of written.
"""

import os
import signal
import statistics
import subprocess
import sys
from dataclasses import dataclass, fields
from pathlib import Path

import psycopg

from benchmarks import data, report, wrk
from benchmarks.calls import CALLS, Call, Request, conditional, every_token
from benchmarks.check import agreed
from benchmarks.peers import PEER_BIN, create_peer, fastapi, limit
from benchmarks.profiled import profiled
from benchmarks.wrk import Load
from tests.harness.databases import create_databases, url_of
from tests.harness.processes import ROOT
from tests.harness.servers import Server, migrate, our_server, run_servers, say

ROUNDS = min(int(os.environ.get("BENCH_ROUNDS", "5")), 20)
SECONDS = min(int(os.environ.get("BENCH_SECONDS", "3")), 30)
FOLDERS = {"ours": ROOT}
if before := os.environ.get("BENCH_BEFORE"):
    FOLDERS["before"] = Path(before).resolve(strict=True)


@dataclass(frozen=True)
class Result:
    call: Call
    of_server: dict[str, Load]


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what is started is stopped
    wrk.required()
    if not (PEER_BIN / "python").exists():
        raise SystemExit("The FastAPI peer is not installed. `make bench` does it.")
    results, said = compared()
    if "before" in FOLDERS:
        say("\n".join(report.comparison(results)))
    else:
        report.write(results, profiled(), said, ROUNDS, SECONDS)


def compared() -> tuple[list[Result], dict[str, str]]:
    with create_databases(*(f"bench_{name}" for name in FOLDERS), "bench_fastapi"):
        say("Filling the databases")
        made = filled()
        checkouts = (our_server(url_of(f"bench_{name}"), folder=folder, name=name) for name, folder in FOLDERS.items())
        servers = (*checkouts, fastapi("bench_fastapi"), limit("bench_ours"))
        with run_servers(*servers):
            agreed(servers[0], servers[1:], made)
            say("The bodies are the same. Warming up")
            for server in servers:
                wrk.loaded(server, every_token(made), seconds=max(2, SECONDS))
            return [timed(call, servers, made) for call in CALLS], versions()


def filled() -> data.Data:
    made = data.made()
    for name, folder in FOLDERS.items():
        migrate(url_of(f"bench_{name}"), folder=folder)
        data.store_ours(url_of(f"bench_{name}"), made)
    create_peer("bench_fastapi")
    data.store_peer(url_of("bench_fastapi"), made)
    return made


def timed(call: Call, servers: tuple[Server, ...], made: data.Data) -> Result:
    requests = {server.name: requests_for(call, server, made) for server in servers}
    loads: dict[str, list[Load]] = {server.name: [] for server in servers}
    for number in range(ROUNDS):
        turn = number % len(servers)
        for server in servers[turn:] + servers[:turn]:  # nobody is always first
            loads[server.name].append(wrk.loaded(server, requests[server.name], SECONDS))
    result = Result(call, {name: median(rounds) for name, rounds in loads.items()})
    rates = ", ".join(f"{name} {load.rate:.0f}" for name, load in result.of_server.items())
    say(f"{call.name}: {rates} requests a second")
    return result


def requests_for(call: Call, server: Server, made: data.Data) -> list[Request]:
    requests = call.requests(made)
    return conditional(server, requests) if call.conditional else requests


def median(rounds: list[Load]) -> Load:
    return Load(
        **{field.name: statistics.median(getattr(load, field.name) for load in rounds) for field in fields(Load)}
    )


def versions() -> dict[str, str]:
    """Return the version of what serves, and of PostgreSQL and wrk."""
    with psycopg.connect(url_of("postgres")) as connection:
        postgres = connection.info.parameter_status("server_version")
    wrk_says = subprocess.run(["wrk", "--version"], capture_output=True, text=True, check=False).stdout.split()
    return {"PostgreSQL": postgres, "wrk": wrk_says[1], "Python": sys.version.split()[0], **report.pins()}


if __name__ == "__main__":
    main()
