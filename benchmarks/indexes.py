"""Every query goes by its device or by a key, and every index is in use: `python -m benchmarks.indexes`.

Makes 1,000,000 entries of 2,000 devices, has all calls made (asked.py), and writes how each is planned to indexes.md.
Exits with 1 where a query reads more than its device's rows, or nothing uses an index, unless below it says why.
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

# Deleted products with what was deleted with them, as a purge finds them; a restore; callers of other addresses.
BESIDES = """
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
MANY = """
INSERT INTO products (id, device_id, revision, created_at, name, name_key, kcal_100g)
    SELECT gen_random_uuid(), %s, 2, now(), 'Food ' || n, 'food ' || n, 1 FROM generate_series(1, 5000) AS n"""

# What reads whole tables, by its nature.
WHOLE = {
    "purge: whose": "A job of the operator's, now and then: any device may have something to purge.",
    "support: blocked devices": "All that are blocked, which are few, by an index that has no others.",
    "after a restore": "Once after a restore, before the service starts: all devices.",
    **{
        f"support: all of {kind}": "What support sees before it searches for an id: the newest of all devices."
        for kind in ("product", "portion", "foodentry", "device")
    },
}
# What no call uses and stays.
KEPT = {
    "restores_pkey": "The key of a table of a few rows.",
    "restores_base_key": "Two restores can't have one base; a table of a few rows.",
    "attempts_pkey": "The key. PostgreSQL takes the other one, which Django puts beside it.",
    "gaps_pkey": "The key that Django wants of every table.",
}
USED = """
SELECT indexrelname, relname, idx_scan, pg_get_indexdef(indexrelid) FROM pg_stat_user_indexes
WHERE relname = ANY(%s) ORDER BY relname, indexrelname"""


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what is started is stopped
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", type=int, default=2_000)
    parser.add_argument("--entries", type=int, default=1_000, help="of each device that does not call")
    arguments = parser.parse_args()
    with create_databases(DATABASE):
        filled(arguments.devices - data.DEVICES, arguments.entries)
        asked = calls()
        with psycopg.connect(url_of(DATABASE)) as connection:
            indexes = connection.execute(USED, [[*LARGE, "restores"]]).fetchall()
    definitions = {name: definition for name, _, _, definition in indexes}
    faults = [*wide(asked, definitions), *unused(indexes)]
    RESULTS.write_text(page(asked, indexes, arguments))
    for fault in faults:
        say(fault)
    say(f"Written: benchmarks/{RESULTS.name}")
    return 1 if faults else 0


def filled(others: int, entries: int) -> None:
    made = data.made()
    migrate(url_of(DATABASE))
    data.store_ours(url_of(DATABASE), made)
    fill(DATABASE, others, entries)
    with psycopg.connect(url_of(DATABASE), autocommit=True) as connection:
        connection.execute(BESIDES)
        connection.execute(MANY, [made.hoarders[0].id])
    data.vacuum(url_of(DATABASE))
    with psycopg.connect(url_of(DATABASE), autocommit=True) as connection:
        connection.execute("SELECT pg_stat_reset()")


def calls() -> dict[str, list[dict]]:
    command = [str(OURS_BIN / "python"), "-m", "benchmarks.asked"]
    environment = {**os.environ, **our_environment(url_of(DATABASE))}
    return json.loads(subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, check=True).stdout)


# --- judged ---------------------------------------------------------------------------------------


def nodes(plan: dict) -> Iterator[dict]:
    yield plan
    for inner in plan.get("Plans", ()):
        yield from nodes(inner)


def scans(statement: dict) -> list[dict]:
    """Return what a statement reads of large tables, each with the index it is read by, if any."""
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


def wide(asked: dict[str, list[dict]], definitions: dict[str, str]) -> Iterator[str]:
    """Yield the queries that read more than their device's rows, or than one by its key."""
    for name, statements in asked.items():
        for statement in statements:
            for scan in scans(statement) if name not in WHOLE else ():
                if not is_narrow(scan, definitions):
                    yield f"{name}: {scan['table']} by {scan['index'] or 'all its rows'}: {statement['sql'][:300]}"


def is_narrow(scan: dict, definitions: dict[str, str]) -> bool:
    """Say whether a scan looks for one device, or for what is unique by itself, by its index's first column."""
    definition = definitions.get(scan["index"], "")
    first = definition.partition(" USING btree (")[2].partition(",")[0].partition(")")[0].split(" ")[0]
    compared = re.search(rf"\b{first}\)?(::\w+)? [=<>]", scan["condition"])
    return first in ("device_id", "id", "key", "product_id", "expires_at") and compared is not None


def unused(indexes: list[tuple]) -> Iterator[str]:
    for name, table, used, _ in indexes:
        if not used and name not in KEPT:
            yield f"{table}: nothing uses {name}"


# --- the page -------------------------------------------------------------------------------------


def page(asked: dict[str, list[dict]], indexes: list[tuple], arguments: argparse.Namespace) -> str:
    command = f"python -m benchmarks.indexes --devices {arguments.devices} --entries {arguments.entries}"
    lines = ["# Indexes", "", f"Made by `{command}` on {describe_machine()}.", ""]
    lines += ["What each call reads of the large tables, foreign keys that PostgreSQL checks among it.", ""]
    lines += ["| call | table | index | rows |", "|---|---|---|--:|"]
    for name, statements in asked.items():
        rows: dict[tuple, int] = {}
        for scan in (scan for one in statements for scan in scans(one)):
            key = (scan["table"], scan["index"] or "**none**")
            rows[key] = max(rows.get(key, 0), scan["rows"])
        lines += [f"| {name} | {table} | {index} | {most:,} |" for (table, index), most in rows.items()]
    lines += ["", "Rows are the most that one scan returned.", "", "## What reads whole tables", ""]
    lines += [f"- {name}: {why}" for name, why in WHOLE.items()]
    lines += ["", "## Indexes", "", "| index | table | used | |", "|---|---|--:|---|"]
    lines += [f"| {name} | {table} | {used:,} | {KEPT.get(name, '')} |" for name, table, used, _ in indexes]
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    sys.exit(main())
