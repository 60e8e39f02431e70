"""Compare the database with the phones' journals: all acknowledged writes are there, and no data of erased devices.

The database and the ledger of erasures are read directly, without the service.
"""

from collections import Counter
from datetime import timedelta
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from tests.e2e.faults.phones import Erased, JournalingPhone

OWNED = """
    SELECT table_name FROM information_schema.columns WHERE column_name IN ('device_id', 'revision')
    GROUP BY table_name HAVING count(*) = 2
"""
TICK = timedelta(microseconds=1)  # the difference of `created_at` between two rows of one change set


def find_faults(url: str, phones: list[JournalingPhone], ledger: Path) -> dict[str, list[str]]:
    """Return lost writes, torn writes and wrong erasures, by kind, each described in a line."""
    erased = [each for phone in phones for each in phone.erased]
    with psycopg.connect(url, row_factory=dict_row) as connection:
        rows = {found["table_name"]: stored(connection, found["table_name"]) for found in connection.execute(OWNED)}
        devices = stored(connection, "devices")
        found = {"lost": [], "torn": [], "not erased": traces(connection, ids_of(erased))}
        receipts = stored(connection, "erasures")
    revisions = {device_id: row["revision"] for device_id, row in devices.items()}
    found["not erased"] += without_receipt(erased, receipts) + not_in_the_ledger(erased, ledger)
    found["wrongly erased"] = wrongly_erased(phones, erased, devices, receipts, ledger)
    for phone in phones:
        found["lost"] += lost(phone, rows, revisions.get(phone.device_id))
        found["torn"] += torn_writes(phone, rows)
    found["torn"] += without_one_default(rows) + above_their_device(rows, revisions)
    return found


def stored(connection: psycopg.Connection, table: str) -> dict[str, dict]:
    return {str(row["id"]): row for row in connection.execute(f"SELECT * FROM {table}")}


def lost(phone: JournalingPhone, rows: dict, revision: int | None) -> list[str]:
    """Return the acknowledged changes of a phone that the database doesn't have, or has more than once."""
    journal, missing = phone.journal, []
    for table, promises in journal.live.items():
        for row_id, promised in promises.items():
            row = rows[table].get(row_id)
            if row is None or row["deleted_at"] is not None or not has_values(row, promised):
                missing.append(f"{table} {row_id}: {promised} is {row}")
    for table, deleted in journal.deleted.items():
        for row_id in deleted:
            row = rows[table].get(row_id)
            if row is None or row["deleted_at"] is None:
                missing.append(f"{table} {row_id} is deleted, but {row}")
    if revision != 1 + journal.changes:
        missing.append(f"device {phone.device_id}: has revision {revision} after {journal.changes} changes")
    return missing


def has_values(row: dict, promised: dict) -> bool:
    return all(str(row[name]) == str(value) or row[name] == value for name, value in promised.items() if name in row)


def torn_writes(phone: JournalingPhone, rows: dict) -> list[str]:
    """Return the writes that were stored in part, or whose rows weren't created in one change set."""
    born = {row_id: row["created_at"] for of_table in rows.values() for row_id, row in of_table.items()}
    torn = []
    for ids in phone.journal.together:
        times = sorted(born[row_id] for row_id in ids if row_id in born)
        if len(times) != len(ids) or times[-1] - times[0] != TICK * (len(ids) - 1):
            torn.append(f"{len(ids)} rows, the first of which is {ids[0]}: {times}")
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
        f"{table} {row_id} has revision {row['revision']}, but its device {revisions[str(row['device_id'])]}"
        for table, of_table in rows.items()
        for row_id, row in of_table.items()
        if row["revision"] > revisions[str(row["device_id"])]
    ]


# --- erasures -------------------------------------------------------------------------------------


def ids_of(erased: list[Erased]) -> list[str]:
    """Return the ids of erased devices and of all rows that they had."""
    return [one for each in erased for one in (each.device_id, *each.row_ids)]


def traces(connection: psycopg.Connection, ids: list[str]) -> list[str]:
    """Return the rows of any table in which one of these ids occurs."""
    tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
    found = []
    for name in (table["tablename"] for table in tables):
        query = sql.SQL(
            "SELECT row::text AS content FROM {} AS row WHERE EXISTS ("
            " SELECT 1 FROM regexp_matches(row::text, '[0-9a-f]{{8}}(?:-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}}', 'g') AS id"
            " WHERE id[1] = ANY(%s))"
        ).format(sql.Identifier(name))
        found += [f"{name} has {row['content']}" for row in connection.execute(query, [ids])]
    return found


def without_receipt(erased: list[Erased], receipts: dict[str, dict]) -> list[str]:
    """Return the acknowledged erasures that have no receipt, or an unfinished one."""
    missing = []
    for each in erased:
        receipt = receipts.get(each.erasure_id)
        if receipt is None or receipt["device_hash"] != each.device_hash or receipt["erased_at"] is None:
            missing.append(f"device {each.device_id}: the receipt is {receipt}")
    return missing


def not_in_the_ledger(erased: list[Erased], ledger: Path) -> list[str]:
    listed = {line.partition(" ")[2] for line in lines_of(ledger)}
    return [
        f"device {each.device_id} is not in the ledger"
        for each in erased
        if f"{each.erasure_id} {each.device_hash}" not in listed
    ]


def wrongly_erased(
    phones: list[JournalingPhone],
    erased: list[Erased],
    devices: dict[str, dict],
    receipts: dict[str, dict],
    ledger: Path,
) -> list[str]:
    """Return the deleted devices, the receipts and the lines of the ledger that no phone has requested."""
    wanted, ids = {each.device_hash for each in erased}, {each.device_id for each in erased}
    deleted = {device_id for device_id, row in devices.items() if row["deleted_at"] is not None}
    found = [f"device {phone.device_id} is gone" for phone in phones if phone.device_id not in devices]
    found += [f"device {device_id} is deleted" for device_id in deleted - ids]
    found += [f"receipt {row}" for row in receipts.values() if row["device_hash"] not in wanted]
    found += [f"ledger: {line}" for line in lines_of(ledger) if line.rpartition(" ")[2] not in wanted]
    return found


def lines_of(ledger: Path) -> list[str]:
    return ledger.read_text().splitlines() if ledger.exists() else []
