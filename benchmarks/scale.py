"""Compare the calls and their query plans with few and with many devices in the database.

`python -m benchmarks.scale` compares 1,000 devices with 1,000,000, which have 10 entries each (10,000,000 in total).
`--devices 10000` is a smaller run. The same 1,000 devices make the calls in both; the others are created with SQL.
"""

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
from pathlib import Path

import psycopg

from benchmarks import data, wrk
from benchmarks.measured_calls import CALLS, Call, Request, conditional, every_token, registration
from benchmarks.wrk import Load
from tests.harness.databases import create_databases, url_of
from tests.harness.machine import describe_machine
from tests.harness.servers import OURS_BIN, ROOT, Server, migrate, our_environment, our_server, run_servers, say

RESULTS = Path(__file__).with_name("scale.md")
SMALL, LARGE = "bench_scale_small", "bench_scale_large"
STEP = 50_000  # devices in a transaction
BYTES_A_DEVICE = 4_000  # with a product, a portion, 10 entries and all indexes; twice as much disk space is required
ENTRIES = 10

# Each other device has a product with a portion, and entries on ten days. Ids are hashes of the device's number, so
# that rows can refer to each other.
DEVICES = """
INSERT INTO devices (id, token_hash, revision, purged_through, created_at, last_seen_at)
SELECT md5('device ' || n)::uuid, repeat('x', 60), 2, 0, now(), now() FROM generate_series(%(first)s, %(last)s) AS n"""
PRODUCTS = """
INSERT INTO products (id, device_id, revision, created_at, name, name_key, kcal_100g, protein_100g)
SELECT md5('product ' || n)::uuid, md5('device ' || n)::uuid, 2, now(), 'Bread ' || n, 'bread ' || n, 250, 8.5
FROM generate_series(%(first)s, %(last)s) AS n"""
PORTIONS = """
INSERT INTO portions (id, device_id, revision, created_at, product_id, name, name_key, grams, is_default)
SELECT md5('portion ' || n)::uuid, md5('device ' || n)::uuid, 2, now(), md5('product ' || n)::uuid, '100g', '100g',
    100, true
FROM generate_series(%(first)s, %(last)s) AS n"""
FOOD_ENTRIES = """
INSERT INTO food_entries (id, device_id, revision, created_at, product_id, grams, date, meal_type, product_name,
    kcal_100g, protein_100g, kcal, protein)
SELECT gen_random_uuid(), md5('device ' || n)::uuid, 2, now(), md5('product ' || n)::uuid, 70, date '2026-01-01' + day,
    'lunch', 'Bread ' || n, 250, 8.5, 175, 5.95
FROM generate_series(%(first)s, %(last)s) AS n, generate_series(1, %(entries)s) AS day"""
INDEXES = """
SELECT indexname, indexdef FROM pg_indexes
WHERE tablename = 'food_entries' AND indexname NOT IN (SELECT conname FROM pg_constraint)"""


def main() -> None:
    arguments = parse_arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # exit normally, to stop all processes
    wrk.require_wrk()
    others = max(0, arguments.devices - data.DEVICES)
    check_disk_space(others)
    dataset = data.generate()
    with create_databases(SMALL, LARGE):
        for database in (SMALL, LARGE):
            migrate(url_of(database))
            data.store_ours(url_of(database), dataset)
        fill(LARGE, others, arguments.entries)
        plans = {database: explain_calls(database) for database in (SMALL, LARGE)}
        sizes = {database: size_of(database) for database in (SMALL, LARGE)}
        loads = measure(dataset, arguments.rounds, arguments.seconds)
    RESULTS.write_text(page(arguments, sizes, loads, plans))
    say("Written: benchmarks/scale.md")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", type=int, default=1_000_000, help="the total number of devices")
    parser.add_argument("--entries", type=int, default=ENTRIES, help="for each device that makes no calls")
    parser.add_argument("--rounds", type=int, default=int(os.environ.get("BENCH_ROUNDS", "5")))
    parser.add_argument("--seconds", type=int, default=int(os.environ.get("BENCH_SECONDS", "3")))
    return parser.parse_args()


def check_disk_space(others: int) -> None:
    """Exit if the disk may be too small. Assumes that PostgreSQL's data is on this machine, in /var/lib."""
    needed, free = 2 * others * BYTES_A_DEVICE, shutil.disk_usage("/var/lib").free
    say(f"Up to {needed / 1e9:.1f} GB of disk space are needed, {free / 1e9:.1f} GB are free.")
    if needed > free:
        raise SystemExit("There is not enough disk space.")


def fill(database: str, others: int, entries: int) -> None:
    """Add other devices. The indexes of entries are dropped and recreated, which is faster than updating them."""
    with psycopg.connect(url_of(database), autocommit=True) as connection:
        # Don't check foreign keys: the rows are valid by construction, and there would be 40,000,000 lookups.
        connection.execute("SET session_replication_role = replica")
        connection.execute("SET maintenance_work_mem = '512MB'")
        indexes = connection.execute(INDEXES).fetchall()
        for name, _ in indexes:
            connection.execute(f"DROP INDEX {name}")
        for first in range(1, others + 1, STEP):
            last = min(first + STEP - 1, others)
            with connection.transaction():
                for statement in (DEVICES, PRODUCTS, PORTIONS, FOOD_ENTRIES):
                    values = {"first": first, "last": last, "entries": entries}
                    psycopg.ClientCursor(connection).execute(statement, values)
            say(f"{last:,} of {others:,} other devices")
        for name, definition in indexes:
            say(f"Index {name}")
            connection.execute(definition)
    say("VACUUM ANALYZE")
    data.vacuum(url_of(database))


def explain_calls(database: str) -> dict[str, list[dict]]:
    command = [str(OURS_BIN / "python"), "-m", "benchmarks.call_plans"]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **our_environment(url_of(database))}, stdout=subprocess.PIPE, check=True
    )
    return json.loads(done.stdout)


def measure(dataset: data.Data, rounds: int, seconds: int) -> dict[str, dict[str, list[Load]]]:
    """Return the loads of the read calls, by call and database. The databases take turns."""
    servers = (our_server(url_of(SMALL)), our_server(url_of(LARGE)))
    with run_servers(*servers):
        for server in servers:
            wrk.measure(server, every_token(dataset), seconds=max(2, seconds))
        return {call.name: measure_call(call, servers, dataset, rounds, seconds) for call in CALLS if reads(call)}


def reads(call: Call) -> bool:
    return call.requests is not registration and call.status != 201


def measure_call(
    call: Call, servers: tuple[Server, ...], dataset: data.Data, rounds: int, seconds: int
) -> dict[str, list[Load]]:
    requests = {server.database: requests_for(call, server, dataset) for server in servers}
    loads: dict[str, list[Load]] = {server.database: [] for server in servers}
    for number in range(rounds):
        for server in servers[:: -1 if number % 2 else 1]:
            loads[server.database].append(wrk.measure(server, requests[server.database], seconds))
    say(f"{call.name}: {rate(loads[SMALL]):.0f} and {rate(loads[LARGE]):.0f} requests per second")
    return loads


def requests_for(call: Call, server: Server, dataset: data.Data) -> list[Request]:
    requests = call.requests(dataset)
    return conditional(server, requests) if call.conditional else requests


def rate(loads: list[Load]) -> float:
    return statistics.median(load.rate for load in loads)


def size_of(database: str) -> dict[str, float]:
    with psycopg.connect(url_of(database)) as connection:
        counts = {table: count_rows(connection, table) for table in ("devices", "products", "food_entries")}
        (size,) = connection.execute("SELECT pg_database_size(current_database())").fetchone()
    return {**counts, "gigabytes": size / 1e9}


def count_rows(connection: psycopg.Connection, table: str) -> int:
    return connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]


# --- the page -------------------------------------------------------------------------------------


def page(arguments: argparse.Namespace, sizes: dict, loads: dict, plans: dict) -> str:
    command = f"python -m benchmarks.scale --devices {arguments.devices} --rounds {arguments.rounds}"
    lines = ["# Scale", "", f"Made by `{command} --seconds {arguments.seconds}` on {describe_machine()}.", ""]
    lines += ["| | devices | products | entries | GB |", "|---|--:|--:|--:|--:|"]
    for name, size in zip(("small", "large"), sizes.values(), strict=True):
        counts = " | ".join(f"{size[table]:,}" for table in ("devices", "products", "food_entries"))
        lines.append(f"| {name} | {counts} | {size['gigabytes']:.2f} |")
    lines += ["", "The same 1,000 devices make the calls in both.", "", "## Requests", ""]
    lines += [
        "| call | small, requests per second | large | small ÷ large | p50, ms | large |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    lines += [request_line(name, of_database[SMALL], of_database[LARGE]) for name, of_database in loads.items()]
    lines += ["", "## Time in queries", "", "| call | queries | small, ms | large |", "|---|--:|--:|--:|"]
    lines += [query_line(name, plans[SMALL][name], plans[LARGE][name]) for name in plans[LARGE]]
    return "\n".join([*lines, "", "## Queries", "", *queries(plans)])


def request_line(name: str, small: list[Load], large: list[Load]) -> str:
    p50s = " | ".join(f"{statistics.median(load.p50 for load in of):.1f}" for of in (small, large))
    return f"| {name} | {rate(small):,.0f} | {rate(large):,.0f} | {rate(small) / rate(large):.2f} × | {p50s} |"


def query_line(name: str, small: list[dict], large: list[dict]) -> str:
    times = " | ".join(f"{sum(query['ms'] for query in of):.3f}" for of in (small, large))
    return f"| {name} | {len(large)} | {times} |"


def queries(plans: dict) -> list[str]:
    lines = []
    for name, large in plans[LARGE].items():
        lines += [f"### {name}", ""]
        for at_small, at_large in zip(plans[SMALL][name], large, strict=True):
            lines += ["```sql", at_large["sql"], "```", ""]
            for size, query in (("small", at_small), ("large", at_large)):
                lines += [f"{size}: {query['ms']:.3f} ms", "", "```", *query["plan"], "```", ""]
    return lines


if __name__ == "__main__":
    main()
