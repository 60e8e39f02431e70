"""Does a worker grow? 100,000 requests of all kinds, and what each worker holds after every 10,000.

`python -m benchmarks.memory`, with `--requests` and `--step` for a try.
"""

import argparse
import math
import signal
import sys
from pathlib import Path

from benchmarks import data, wrk
from benchmarks.calls import every_token, mixed
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
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what is started is stopped
    wrk.required()
    made = data.made()
    with create_databases(DATABASE):
        migrate(url_of(DATABASE))
        data.store_ours(url_of(DATABASE), made)
        server = our_server(url_of(DATABASE))
        with run_servers(server):
            rows = grown(server, made, arguments.requests, arguments.step)
    RESULTS.write_text(page(rows))
    say("Written: benchmarks/memory.md")


def grown(server: Server, made: data.Data, requests: int, step: int) -> list[tuple[int, list[float]]]:
    """Return what each worker holds, in MB, by the number of requests that were answered."""
    answered, rate, rows = 0, wrk.loaded(server, every_token(made), seconds=2).rate, [(0, held(server))]
    everything = mixed(made)
    while answered < requests:
        until = min(requests, answered - answered % step + step)
        while answered < until:  # wrk counts seconds, not requests
            seconds = math.ceil((until - answered) / rate)
            load = wrk.loaded(server, everything, min(LONGEST, seconds))
            answered, rate = answered + load.requests, load.rate
        rows.append((answered, held(server)))
        say(f"{answered:,} requests: {', '.join(f'{rss:.1f}' for rss in rows[-1][1])} MB")
    return rows


def held(server: Server) -> list[float]:
    return [rss_of(pid) for pid in server.workers]


def page(rows: list[tuple[int, list[float]]]) -> str:
    lines = [
        "# Memory",
        "",
        f"Requests of all kinds in turn, on {describe_machine()}. What a worker holds (RSS), in MB of 10⁶ bytes, after",
        "every token was checked, and on.",
        "",
        "| requests | one worker | the other |",
        "|--:|--:|--:|",
        *(f"| {answered:,} | {first:.1f} | {second:.1f} |" for answered, (first, second) in rows),
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
