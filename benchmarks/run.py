"""Compare CountOnMe with FastAPI and with a bare WSGI function: `make bench`.

BENCH_ROUNDS is the number of runs of each call on each server, and BENCH_SECONDS the length of a run. BENCH_POSTGRES is
PostgreSQL's address without a database. If BENCH_BEFORE is the folder of an earlier checkout, that is measured too, and
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
from benchmarks.check import compare_responses
from benchmarks.measured_calls import CALLS, Call, Request, conditional, every_token
from benchmarks.peers import PEER_BIN, create_peer, fastapi, limit
from benchmarks.profiling import profile_calls
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
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # exit normally, to stop all processes
    wrk.require_wrk()
    if not (PEER_BIN / "python").exists():
        raise SystemExit("The FastAPI peer is not installed. `make bench` installs it.")
    results, program_versions = compare_servers()
    if "before" in FOLDERS:
        say("\n".join(report.comparison(results)))
    else:
        report.write(results, profile_calls(), program_versions, ROUNDS, SECONDS)


def compare_servers() -> tuple[list[Result], dict[str, str]]:
    with create_databases(*(f"bench_{name}" for name in FOLDERS), "bench_fastapi"):
        say("Filling the databases")
        dataset = fill_databases()
        checkouts = (our_server(url_of(f"bench_{name}"), folder=folder, name=name) for name, folder in FOLDERS.items())
        servers = (*checkouts, fastapi("bench_fastapi"), limit("bench_ours"))
        with run_servers(*servers):
            compare_responses(servers[0], servers[1:], dataset)
            say("The bodies are the same. Warming up")
            for server in servers:
                wrk.measure(server, every_token(dataset), seconds=max(2, SECONDS))
            return [measure_call(call, servers, dataset) for call in CALLS], versions()


def fill_databases() -> data.Data:
    dataset = data.generate()
    for name, folder in FOLDERS.items():
        migrate(url_of(f"bench_{name}"), folder=folder)
        data.store_ours(url_of(f"bench_{name}"), dataset)
    create_peer("bench_fastapi")
    data.store_peer(url_of("bench_fastapi"), dataset)
    return dataset


def measure_call(call: Call, servers: tuple[Server, ...], dataset: data.Data) -> Result:
    requests = {server.name: requests_for(call, server, dataset) for server in servers}
    loads: dict[str, list[Load]] = {server.name: [] for server in servers}
    for number in range(ROUNDS):
        turn = number % len(servers)
        for server in servers[turn:] + servers[:turn]:  # each server is first in some rounds
            loads[server.name].append(wrk.measure(server, requests[server.name], SECONDS))
    result = Result(call, {name: median(rounds) for name, rounds in loads.items()})
    rates = ", ".join(f"{name} {load.rate:.0f}" for name, load in result.of_server.items())
    say(f"{call.name}: {rates} requests per second")
    return result


def requests_for(call: Call, server: Server, dataset: data.Data) -> list[Request]:
    requests = call.requests(dataset)
    return conditional(server, requests) if call.conditional else requests


def median(rounds: list[Load]) -> Load:
    return Load(
        **{field.name: statistics.median(getattr(load, field.name) for load in rounds) for field in fields(Load)}
    )


def versions() -> dict[str, str]:
    """Return the versions of PostgreSQL, wrk, Python and the servers' packages."""
    with psycopg.connect(url_of("postgres")) as connection:
        postgres = connection.info.parameter_status("server_version")
    wrk_version = subprocess.run(["wrk", "--version"], capture_output=True, text=True, check=False).stdout.split()
    return {"PostgreSQL": postgres, "wrk": wrk_version[1], "Python": sys.version.split()[0], **report.pins()}


if __name__ == "__main__":
    main()
