"""Compare the service with and without PgBouncer: `python -m benchmarks.scaling`, which writes scaling.md.

Needs wrk. BENCH_ROUNDS is the number of runs of each call, and BENCH_SECONDS the length of a run.
"""

import os
import signal
import statistics
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks import data, wrk
from benchmarks.measured_calls import CALLS, Call, every_token
from benchmarks.run import median, requests_for
from benchmarks.wrk import Load
from tests.e2e.scaling.machines import Machines, create_migrated, machines
from tests.e2e.scaling.writing_phone import WritingPhone, living
from tests.harness.machine import database_processes, describe_machine
from tests.harness.processes import Postgres, Process
from tests.harness.servers import Server, our_server, run_servers, say

ROUNDS = min(int(os.environ.get("BENCH_ROUNDS", "5")), 20)
SECONDS = min(int(os.environ.get("BENCH_SECONDS", "3")), 30)
COPIES = 4
POOL = 6
BUSY = 10  # seconds, until every thread has been used
THREADS = 6  # of a copy of two workers
RESULTS = Path(__file__).with_name("scaling.md")
TIMED = ("304", "one product", "product list of 50", "a 30-day summary", "create an entry", "create a product")


@dataclass(frozen=True)
class Connections:
    connections: int
    memory: float  # megabytes of one


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # exit normally, to stop all processes
    wrk.require_wrk()
    with machines() as started:
        server = started.postgres()
        server.run("CREATE ROLE countonme LOGIN")
        pooler = started.pgbouncer(server, default_pool_size=str(POOL))
        of_copies = {name: measure_connections(started, server, name, through) for name, through in ways(pooler)}
        of_calls = measure_rates(server, pooler)
    RESULTS.write_text(page(of_copies, of_calls))
    say(f"Written: {RESULTS}")


def ways(pooler: Process) -> list[tuple[str, Process | None]]:
    return [("direct", None), ("pooled", pooler)]


def environment(database: str, through: Process | None) -> dict[str, str]:
    return {"DATABASE_URL": database, "DATABASE_POOLER": "transaction" if through else ""}


# --- connections ----------------------------------------------------------------------------------


def measure_connections(started: Machines, server: Postgres, name: str, through: Process | None) -> Connections:
    """Return PostgreSQL's connections for several copies with busy threads, and the median memory of a connection."""
    database = f"held_{name}"
    create_migrated(server, database)
    address, phones = server.url(database, user="countonme", through=through), []
    with ExitStack() as copies, ExitStack() as lines:
        for number in range(COPIES):
            copy = started.copy(f"{name}-{number}", address, **environment(address, through))
            copies.callback(copy.stop)
            phones += [lines.enter_context(WritingPhone(copy.port)) for _ in range(THREADS)]
        with living(phones):
            time.sleep(BUSY)
            processes = database_processes(database)
            memory = statistics.median(private(pid) for pid in processes)
    return Connections(len(processes), memory)


def private(pid: int) -> float:
    """Return the private memory of a process, in megabytes (10⁶ bytes)."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) * 1024 / 1e6


# --- requests per second --------------------------------------------------------------------------


def measure_rates(server: Postgres, pooler: Process) -> dict[str, list[Load]]:
    """Return the median loads of each call, direct and pooled. Both take turns."""
    create_migrated(server, "rates")
    dataset = data.generate()
    data.store_ours(server.url("rates"), dataset)
    servers = []
    for name, through in ways(pooler):
        address = server.url("rates", user="countonme", through=through)
        server = our_server(address, **environment(address, through))
        server.name = name
        servers.append(server)
    with run_servers(*servers):
        for one in servers:
            wrk.measure(one, every_token(dataset), seconds=max(2, SECONDS))
        return {call.name: measure_call(call, servers, dataset) for call in CALLS if call.name in TIMED}


def measure_call(call: Call, servers: list[Server], dataset: data.Data) -> list[Load]:
    loads = {server.name: [] for server in servers}
    for number in range(ROUNDS):
        for server in servers[:: 1 if number % 2 else -1]:  # each server is first in some rounds
            loads[server.name].append(wrk.measure(server, requests_for(call, server, dataset), SECONDS))
    medians = [median(loads[server.name]) for server in servers]
    say(f"{call.name}: {medians[0].rate:.0f} direct, {medians[1].rate:.0f} pooled")
    return medians


def page(of_copies: dict[str, Connections], of_calls: dict[str, list[Load]]) -> str:
    lines = [
        "# With and without PgBouncer",
        "",
        f"Made by `python -m benchmarks.scaling` on {describe_machine()},",
        "with everything on that one machine.",
        "",
        f"Connections for {COPIES} copies with 2 workers and 3 busy threads each. PgBouncer's pool has {POOL}:",
        "",
        "| | connections of PostgreSQL | memory of one, MB |",
        "|---|--:|--:|",
        *(f"| {name} | {held.connections} | {held.memory:.1f} |" for name, held in of_copies.items()),
        "",
        f"One copy: medians of {ROUNDS} rounds of {SECONDS} s, which take turns. CPU is milliseconds per request, of",
        "the service and of PostgreSQL. On a busy machine, it varies less than the requests per second:",
        "",
        "| | requests per second | pooled | ratio | CPU, service | pooled | CPU, PostgreSQL | pooled |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
        *(row(name, *loads) for name, loads in of_calls.items()),
        "",
    ]
    return "\n".join(lines)


def row(name: str, direct: Load, pooled: Load) -> str:
    rates = f"{direct.rate:,.0f} | {pooled.rate:,.0f} | {pooled.rate / direct.rate:.2f}"
    cpu = f"{direct.cpu:.2f} | {pooled.cpu:.2f} | {direct.database_cpu:.2f} | {pooled.database_cpu:.2f}"
    return f"| {name} | {rates} | {cpu} |"


if __name__ == "__main__":
    main()
