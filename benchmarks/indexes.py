"""Check that every query uses an index by device or by key, and that every index is used.

`python -m benchmarks.indexes` creates 1,000,000 entries of 2,000 devices, makes all calls (statement_plans.py), and
writes the indexes of their plans to indexes.md. Exits with 1 if a query reads more than its device's rows, or if an
index is unused, unless READS_WHOLE_TABLES or ALLOWED_UNUSED has the reason.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg

from benchmarks import data
from benchmarks.scale import fill
from tests.harness.databases import create_databases, url_of
from tests.harness.machine import describe_machine
from tests.harness.servers import OURS_BIN, ROOT, migrate, our_environment, say

RESULTS = Path(__file__).with_name("indexes.md")
DATABASE = "bench_indexes"
LARGE = ("devices", "products", "portions", "food_entries", "gaps", "attempts")

# Tombstones for a purge, a restore, and rate-limited attempts of other addresses.
OTHER_ROWS = """
UPDATE food_entries SET deleted_at = now() - interval '1 year' WHERE date = '2026-06-01';
INSERT INTO products (id, device_id, revision, created_at, deleted_at, name, name_key, kcal_100g)
    SELECT gen_random_uuid(), id, 2, now(), now() - interval '1 year', 'Gone', 'gone', 1 FROM devices;
INSERT INTO portions (id, device_id, product_id, revision, created_at, deleted_at, name, name_key, grams, is_default)
    SELECT gen_random_uuid(), device_id, id, 2, now(), deleted_at, '100g', '100g', 100, true
    FROM products WHERE deleted_at IS NOT NULL;
INSERT INTO restores (base, created_at) VALUES (200, now());
INSERT INTO gaps (device_id, after, before) SELECT id, revision, 200 FROM devices;
UPDATE devices SET revision = 200;
INSERT INTO attempts (key, moments, expires_at) SELECT md5('caller ' || n), '[]', 4000000000 + n
    FROM generate_series(1, 5000) AS n;
"""
MANY_PRODUCTS = """
INSERT INTO products (id, device_id, revision, created_at, name, name_key, kcal_100g)
    SELECT gen_random_uuid(), %s, 2, now(), 'Food ' || n, 'food ' || n, 1 FROM generate_series(1, 5000) AS n"""

# Calls that may read whole tables, each with the reason.
READS_WHOLE_TABLES = {
    "purge: devices with tombstones": "An occasional job of operators. Any device may have tombstones.",
    "support: blocked devices": "Blocked devices are few, and a partial index has only them.",
    "after a restore": "Runs once after a restore, before the service starts, for all devices.",
    **{
        f"support: all of {kind}": "The list before support searches for an ID: the newest rows of all devices."
        for kind in ("product", "portion", "foodentry", "device")
    },
}
# Indexes that may be unused, each with the reason.
ALLOWED_UNUSED = {
    "restores_pkey": "The primary key of a table with few rows.",
    "restores_base_key": "Ensures that bases are unique, in a table with few rows.",
    "attempts_pkey": "The primary key. PostgreSQL uses Django's second index on it.",
    "gaps_pkey": "The primary key, which Django requires.",
}
USAGE = """
SELECT indexrelname, relname, idx_scan, pg_get_indexdef(indexrelid) FROM pg_stat_user_indexes
WHERE relname = ANY(%s) ORDER BY relname, indexrelname"""


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # exit normally, to stop all processes
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", type=int, default=2_000)
    parser.add_argument("--entries", type=int, default=1_000, help="for each device that makes no calls")
    arguments = parser.parse_args()
    with create_databases(DATABASE):
        fill_database(arguments.devices - data.DEVICES, arguments.entries)
        calls = explain_calls()
        with psycopg.connect(url_of(DATABASE)) as connection:
            indexes = connection.execute(USAGE, [[*LARGE, "restores"]]).fetchall()
    definitions = {name: definition for name, _, _, definition in indexes}
    faults = [*wide_scans(calls, definitions), *unused_indexes(indexes)]
    RESULTS.write_text(page(calls, indexes, arguments))
    for fault in faults:
        say(fault)
    say(f"Written: benchmarks/{RESULTS.name}")
    return 1 if faults else 0


def fill_database(others: int, entries: int) -> None:
    dataset = data.generate()
    migrate(url_of(DATABASE))
    data.store_ours(url_of(DATABASE), dataset)
    fill(DATABASE, others, entries)
    with psycopg.connect(url_of(DATABASE), autocommit=True) as connection:
        connection.execute(OTHER_ROWS)
        connection.execute(MANY_PRODUCTS, [dataset.hoarders[0].id])
    data.vacuum(url_of(DATABASE))
    with psycopg.connect(url_of(DATABASE), autocommit=True) as connection:
        connection.execute("SELECT pg_stat_reset()")


def explain_calls() -> dict[str, list[dict]]:
    command = [str(OURS_BIN / "python"), "-m", "benchmarks.statement_plans"]
    environment = {**os.environ, **our_environment(url_of(DATABASE))}
    return json.loads(subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, check=True).stdout)


# --- faults ---------------------------------------------------------------------------------------


def nodes(plan: dict) -> Iterator[dict]:
    yield plan
    for inner in plan.get("Plans", ()):
        yield from nodes(inner)


def scans(statement: dict) -> list[dict]:
    """Return the scans of large tables in a statement's plan, each with its index, if it uses one."""
    found = []
    for node in nodes(statement["plan"]):
        if node.get("Relation Name") in LARGE and "Scan" in node["Node Type"]:
            inner = node.get("Plans", ()) if node["Node Type"] == "Bitmap Heap Scan" else ()
            by = [one for part in inner for one in nodes(part) if one["Node Type"] == "Bitmap Index Scan"] or [node]
            found += [
                {
                    "table": node["Relation Name"],
                    "index": one.get("Index Name"),
                    "condition": one.get("Index Cond", ""),
                    "rows": node["Actual Rows"],
                }
                for one in by
            ]
    return found


def wide_scans(calls: dict[str, list[dict]], definitions: dict[str, str]) -> Iterator[str]:
    """Yield the queries that read rows neither by device nor by a key."""
    for name, statements in calls.items():
        for statement in statements:
            for scan in scans(statement) if name not in READS_WHOLE_TABLES else ():
                if not is_narrow(scan, definitions):
                    yield f"{name}: {scan['table']} by {scan['index'] or 'all its rows'}: {statement['sql'][:300]}"


def is_narrow(scan: dict, definitions: dict[str, str]) -> bool:
    """Return whether a scan compares the first column of its index, and this column is the device or a key."""
    definition = definitions.get(scan["index"], "")
    first = definition.partition(" USING btree (")[2].partition(",")[0].partition(")")[0].split(" ")[0]
    compared = re.search(rf"\b{first}\)?(::\w+)? [=<>]", scan["condition"])
    return first in ("device_id", "id", "key", "product_id", "expires_at") and compared is not None


def unused_indexes(indexes: list[tuple]) -> Iterator[str]:
    for name, table, used, _ in indexes:
        if not used and name not in ALLOWED_UNUSED:
            yield f"{table}: nothing uses {name}"


# --- the page -------------------------------------------------------------------------------------


def page(calls: dict[str, list[dict]], indexes: list[tuple], arguments: argparse.Namespace) -> str:
    command = f"python -m benchmarks.indexes --devices {arguments.devices} --entries {arguments.entries}"
    lines = ["# Indexes", "", f"Made by `{command}` on {describe_machine()}.", ""]
    lines += ["The scans of large tables in each call, including PostgreSQL's checks of foreign keys.", ""]
    lines += ["| call | table | index | rows |", "|---|---|---|--:|"]
    for name, statements in calls.items():
        rows: dict[tuple, int] = {}
        for scan in (scan for one in statements for scan in scans(one)):
            key = (scan["table"], scan["index"] or "**none**")
            rows[key] = max(rows.get(key, 0), scan["rows"])
        lines += [f"| {name} | {table} | {index} | {most:,} |" for (table, index), most in rows.items()]
    lines += ["", "Rows are the maximum that a scan returned.", "", "## Calls that read whole tables", ""]
    lines += [f"- {name}: {why}" for name, why in READS_WHOLE_TABLES.items()]
    lines += ["", "## Indexes", "", "| index | table | used | |", "|---|---|--:|---|"]
    lines += [f"| {name} | {table} | {used:,} | {ALLOWED_UNUSED.get(name, '')} |" for name, table, used, _ in indexes]
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    sys.exit(main())
