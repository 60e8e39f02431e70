"""Does the database hold what the phones were promised? It is read as it is, past the service."""

from collections import Counter
from datetime import timedelta

import psycopg
from psycopg.rows import dict_row

from benchmarks.faults.phones import TABLES, Phone

TICK = timedelta(microseconds=1)  # by which the rows of one change set follow each other


def faults_of(url: str, phones: list[Phone]) -> dict[str, list[str]]:
    """Return what is lost and what is torn, each in a line."""
    with psycopg.connect(url, row_factory=dict_row) as connection:
        rows = {table: stored(connection, table) for table in TABLES}
        revisions = {str(row["id"]): row["revision"] for row in connection.execute("SELECT id, revision FROM devices")}
    found = {"lost": [], "torn": []}
    for phone in phones:
        found["lost"] += lost(phone, rows, revisions.get(phone.device_id))
        found["torn"] += torn_writes(phone, rows)
    found["torn"] += without_one_default(rows) + above_their_device(rows, revisions)
    return found


def stored(connection: psycopg.Connection, table: str) -> dict[str, dict]:
    return {str(row["id"]): row for row in connection.execute(f"SELECT * FROM {table}")}


def lost(phone: Phone, rows: dict, revision: int | None) -> list[str]:
    """Return what the phone was promised and the database does not hold, or holds more than once."""
    journal, missing = phone.journal, []
    for table in TABLES:
        for row_id, promised in journal.live[table].items():
            row = rows[table].get(row_id)
            if row is None or row["deleted_at"] is not None or not says(row, promised):
                missing.append(f"{table} {row_id}: {promised} is {row}")
        for row_id in journal.deleted[table]:
            row = rows[table].get(row_id)
            if row is None or row["deleted_at"] is None:
                missing.append(f"{table} {row_id} is deleted, but {row}")
    if revision != 1 + journal.changes:
        missing.append(f"device {phone.device_id}: {journal.changes} changes make no revision {revision}")
    return missing


def says(row: dict, promised: dict) -> bool:
    return all(str(row[name]) == str(value) or row[name] == value for name, value in promised.items() if name in row)


def torn_writes(phone: Phone, rows: dict) -> list[str]:
    """Return the writes whose rows did not come into being as one: all of them, and each a tick after another one."""
    born = {row_id: row["created_at"] for table in TABLES for row_id, row in rows[table].items()}
    torn = []
    for ids in phone.journal.together:
        times = sorted(born[row_id] for row_id in ids if row_id in born)
        if len(times) != len(ids) or times[-1] - times[0] != TICK * (len(ids) - 1):
            torn.append(f"{len(ids)} rows from {ids[0]} on: {times}")
    return torn


def without_one_default(rows: dict) -> list[str]:
    """Return the live products that have no default portion, or more than one."""
    defaults = Counter(
        str(row["product_id"]) for row in rows["portions"].values() if row["is_default"] and row["deleted_at"] is None
    )
    live = [row_id for row_id, row in rows["products"].items() if row["deleted_at"] is None]
    return [f"product {row_id} has {defaults[row_id]} default portions" for row_id in live if defaults[row_id] != 1]


def above_their_device(rows: dict, revisions: dict[str, int]) -> list[str]:
    return [
        f"{table} {row_id} has revision {row['revision']}, its device {revisions[str(row['device_id'])]}"
        for table in TABLES
        for row_id, row in rows[table].items()
        if row["revision"] > revisions[str(row["device_id"])]
    ]
