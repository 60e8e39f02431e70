"""Measure the memory of each worker over 100,000 requests of all kinds: `python -m benchmarks.memory`.

`--requests` and `--step` are the number of requests, and the number between two measurements.
"""

import argparse
import math
import signal
import sys
from pathlib import Path

from benchmarks import data, wrk
from benchmarks.measured_calls import every_token, mixed
from tests.harness.databases import create_databases, url_of
from tests.harness.machine import describe_machine, rss_of
from tests.harness.servers import Server, migrate, our_server, run_servers, say

RESULTS = Path(__file__).with_name("memory.md")
DATABASE = "bench_memory"
LONGEST = 30  # seconds at a time


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--step", type=int, default=10_000)
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # exit normally, to stop all processes
    wrk.require_wrk()
    dataset = data.generate()
    with create_databases(DATABASE):
        migrate(url_of(DATABASE))
        data.store_ours(url_of(DATABASE), dataset)
        server = our_server(url_of(DATABASE))
        with run_servers(server):
            rows = measure(server, dataset, arguments.requests, arguments.step)
    RESULTS.write_text(page(rows))
    say("Written: benchmarks/memory.md")


def measure(server: Server, dataset: data.Data, requests: int, step: int) -> list[tuple[int, list[float]]]:
    """Return the memory of each worker in MB, after each number of requests."""
    rate = wrk.measure(server, every_token(dataset), seconds=2).rate
    answered, rows = 0, [(0, memory_of_workers(server))]
    everything = mixed(dataset)
    while answered < requests:
        until = min(requests, answered - answered % step + step)
        while answered < until:  # wrk counts seconds, not requests
            seconds = math.ceil((until - answered) / rate)
            load = wrk.measure(server, everything, min(LONGEST, seconds))
            answered, rate = answered + load.requests, load.rate
        rows.append((answered, memory_of_workers(server)))
        say(f"{answered:,} requests: {', '.join(f'{rss:.1f}' for rss in rows[-1][1])} MB")
    return rows


def memory_of_workers(server: Server) -> list[float]:
    return [rss_of(pid) for pid in server.workers]


def page(rows: list[tuple[int, list[float]]]) -> str:
    lines = [
        "# Memory",
        "",
        f"The memory of each worker (RSS, in MB of 10⁶ bytes) on {describe_machine()},",
        "with requests of all kinds in turn. Before the first measurement, every token was verified once.",
        "",
        "| requests | one worker | the other |",
        "|--:|--:|--:|",
        *(f"| {answered:,} | {first:.1f} | {second:.1f} |" for answered, (first, second) in rows),
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
