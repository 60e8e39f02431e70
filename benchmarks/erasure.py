"""Measure the erasure of a device, and how it affects other devices: `python -m benchmarks.erasure`.

Devices with as many rows as the quotas allow are erased one after the other, while four phones read and write. Between
two erasures there is a pause. This runs on a new PostgreSQL server with default settings, then on SQLite.

`--rounds` is the number of erased devices, and `--seconds` the length of the pause before each. `--share 0.1` gives the
devices a tenth of the rows, for a quick run.
"""

import argparse
import os
import signal
import sqlite3
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from threading import Event, Thread
from uuid import UUID, uuid4

import psycopg

from benchmarks import scale
from benchmarks.data import copy_rows, vacuum
from tests.e2e.abuse.attacks import Caller
from tests.e2e.abuse.honest import PAUSE, HonestDevice, Sample
from tests.e2e.abuse.preparation import ENTRIES, PORTIONS, PRODUCTS, Preparation
from tests.harness.machine import describe_machine
from tests.harness.processes import ROOT, Postgres, folder_of_owner, postgres
from tests.harness.servers import Server, migrate, our_server, run_servers, say

RESULTS = Path(__file__).with_name("erasure.md")
DATABASE = "countonme"
ERASE = "erase"  # the application_name of its database connection
PHONES = 4
EMPTY = 10  # devices without rows, which are deleted in each round
OTHERS, OF_OTHERS = 2_000, 250  # other devices, and the entries of each
LOOK_EVERY = 0.01  # seconds between two samples of the database's activity
OWNED = ("food_entries", "portions", "products")

ACTIVITY = """
SELECT coalesce(extract(epoch FROM max(clock_timestamp() - xact_start) FILTER (WHERE application_name = %s)), 0),
    coalesce(extract(epoch FROM max(clock_timestamp() - query_start) FILTER (WHERE wait_event_type = 'Lock')), 0)
FROM pg_stat_activity WHERE datname = current_database() AND state <> 'idle'"""
DEAD = "SELECT coalesce(sum(n_dead_tup), 0)::int FROM pg_stat_user_tables WHERE relname = ANY(%s)"


@dataclass
class Phase:
    """The measurements while a device was erased, or during a pause."""

    samples: list[Sample] = field(default_factory=list)
    seconds: float = 0
    wal: int = 0  # bytes
    dead: int = 0  # rows
    transaction: float = 0  # seconds: the longest transaction of `erase`
    wait: float = 0  # seconds: the longest wait of any connection for a lock
    requests: dict[str, list[float]] = field(
        default_factory=lambda: {"a device at its quota": [], "an empty device": []}
    )

    def times(self, *, writes: bool) -> list[float]:
        return [one.seconds for one in self.samples if one.request.startswith("GET") != writes]


def main() -> None:
    arguments = parse_arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # exit normally, to stop all processes
    with folder_of_owner() as folder:
        with postgres(folder / "data") as database:
            of_postgres, former = on_postgres(database, arguments)
        of_sqlite = on_sqlite(folder / "db.sqlite3", arguments)
    RESULTS.write_text(page(arguments, of_postgres, former, of_sqlite))
    say("Written: benchmarks/erasure.md")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=30)
    parser.add_argument("--share", type=float, default=1)
    return parser.parse_args()


def on_postgres(database: Postgres, arguments: argparse.Namespace) -> tuple[list[tuple[Phase, Phase]], Phase]:
    """Return the measurements of each round, and those of a soft delete in one transaction."""
    database.run(f"CREATE DATABASE {DATABASE}")
    url = database.url(DATABASE)
    service = server_on(url)
    with psycopg.connect(url) as connection:
        connection.execute("SET session_replication_role = replica")  # foreign keys aren't checked row by row
        for statement in (scale.DEVICES, scale.PRODUCTS, scale.PORTIONS, scale.FOOD_ENTRIES):
            values = {"first": 1, "last": OTHERS, "entries": OF_OTHERS}
            psycopg.ClientCursor(connection).execute(statement, values)
    with run_servers(service):
        people = Preparation(service, url)
        large = [people.device() for _ in range(arguments.rounds + 1)]
        for caller in large:
            with psycopg.connect(url) as connection:
                connection.execute("SET session_replication_role = replica")
                for table, columns, rows in rows_of(UUID(caller.id), arguments.share):
                    copy_rows(connection, table, columns, rows)
            say(f"filled {caller.id}")
        vacuum(url)
        rounds = measure(service, people, large[:-1], arguments.seconds, url)
        return rounds, soft_delete(url, large[-1])


def on_sqlite(file: Path, arguments: argparse.Namespace) -> list[tuple[Phase, Phase]]:
    service = server_on(f"sqlite:///{file}", WEB_CONCURRENCY="1")
    with run_servers(service):
        people = Preparation(service, "")
        large = [people.device() for _ in range(arguments.rounds + 1)]
        with closing(sqlite3.connect(file)) as connection:
            for caller in large:
                for table, columns, rows in rows_of(UUID(caller.id), arguments.share):
                    places = ", ".join("?" * len(columns))
                    statement = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({places})"
                    connection.executemany(statement, (tuple(map(as_sqlite, row)) for row in rows))
                connection.commit()
            connection.execute("ANALYZE")
        return measure(service, people, large[:-1], arguments.seconds)


def server_on(url: str, **environment: str) -> Server:
    migrate(url)
    return our_server(url, **environment)


def as_sqlite(value):
    if isinstance(value, UUID):
        return value.hex
    return str(value) if isinstance(value, date) else value


def rows_of(device_id: UUID, share: float) -> Iterator[tuple[str, tuple[str, ...], Iterator[tuple]]]:
    """Yield the name, the columns and the rows of each table, for a device at its quota. Ten rows share a revision."""
    now = datetime.now(UTC)
    products = [uuid4() for _ in range(int(PRODUCTS * share))]
    portions = [uuid4() for _ in range(int(PORTIONS * share))]
    owned = ("id", "device_id", "revision", "created_at")
    yield (
        "products",
        (*owned, "name", "name_key", "kcal_100g", "protein_100g"),
        ((one, device_id, 2 + n // 10, now, f"Bread {n}", f"bread {n}", 250, 8.5) for n, one in enumerate(products)),
    )
    yield (
        "portions",
        (*owned, "product_id", "name", "name_key", "grams", "is_default"),
        (
            (one, device_id, 2 + n // 10, now, products[n % len(products)], "Slice", "slice", 35, n < len(products))
            for n, one in enumerate(portions)
        ),
    )
    values = ("grams", "date", "meal_type", "product_name", "kcal_100g", "protein_100g", "kcal", "protein")
    yield (
        "food_entries",
        (*owned, "product_id", "portion_id", *values),
        (
            (
                *(uuid4(), device_id, 2 + n // 10, now, products[n % len(products)], portions[n % len(portions)]),
                *(
                    70,
                    date(2016, 1, 1) + timedelta(n // 70),
                    "lunch",
                    f"Bread {n % len(products)}",
                    250,
                    8.5,
                    175,
                    5.95,
                ),
            )
            for n in range(int(ENTRIES * share))
        ),
    )


# --- measuring ------------------------------------------------------------------------------------


def measure(
    service: Server, people: Preparation, large: list[Caller], seconds: float, url: str = ""
) -> list[tuple[Phase, Phase]]:
    """Erase each device. Return the measurements before and during each erasure."""
    callers = [people.with_product(people.device()) for _ in range(PHONES)]
    phones = [HonestDevice(service.port, caller) for caller in callers]
    for phone in phones:
        phone.warm_up()
    ended = Event()
    with ThreadPoolExecutor(PHONES) as pool:
        running_phones = [pool.submit(live, phone, ended) for phone in phones]
        try:
            rounds = []
            for caller in large:
                empty = [people.device() for _ in range(EMPTY)]
                with phase(phones, url) as quiet:
                    time.sleep(seconds)
                with phase(phones, url) as erasing:
                    delete(service, {"a device at its quota": [caller], "an empty device": empty}, erasing)
                    erase(service, erasing)
                rounds.append((quiet, erasing))
                say(f"erased in {erasing.seconds:.1f} s; longest transaction {erasing.transaction:.3f} s")
        finally:
            ended.set()
        for each in running_phones:
            each.result()
    if wrong := [one for both in rounds for one in (*both[0].samples, *both[1].samples) if one.wrong]:
        say(f"{len(wrong)} requests failed, such as {wrong[0]}")
    return rounds


def live(phone: HonestDevice, ended: Event) -> None:
    day = phone.day()
    while not ended.wait(PAUSE):
        next(day)


def delete(service: Server, callers: dict[str, list[Caller]], phase: Phase) -> None:
    """Request the erasure of devices whose tokens the workers have cached, and record the time of each request."""
    for kind, of_kind in callers.items():
        for caller in of_kind:
            phone = HonestDevice(service.port, caller)
            for _ in range(4):
                phone.request("GET", "/v1/devices/me", "200")
            if phone.request("DELETE", "/v1/devices/me", "204").status != "204":
                raise SystemExit(f"DELETE /v1/devices/me: {phone.samples[-1]}")
            phase.requests[kind].append(phone.samples[-1].seconds)
            phone.phone.close()


def erase(service: Server, phase: Phase) -> None:
    environment = {**os.environ, **service.environment, "PGAPPNAME": ERASE}
    began = time.monotonic()
    subprocess.run([sys.executable, "manage.py", "erase"], cwd=ROOT, env=environment, check=True)
    phase.seconds = time.monotonic() - began


@contextmanager
def phase(phones: list[HonestDevice], url: str) -> Iterator[Phase]:
    """Measure inside the block."""
    measured, starts = Phase(), [len(phone.samples) for phone in phones]
    if url:
        with psycopg.connect(url, autocommit=True) as connection, watch_activity(url, measured):
            before = totals(connection)
            yield measured
            after = totals(connection)
        measured.wal, measured.dead = after[0] - before[0], after[1] - before[1]
    else:
        yield measured
    for phone, start in zip(phones, starts, strict=True):
        measured.samples += phone.samples[start:]


def totals(connection: psycopg.Connection) -> tuple[int, int]:
    """Return the bytes of WAL written so far, and the number of dead rows."""
    (wal,) = connection.execute("SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint").fetchone()
    (dead,) = connection.execute(DEAD, [list(OWNED)]).fetchone()
    return wal, dead


@contextmanager
def watch_activity(url: str, phase: Phase) -> Iterator[None]:
    """Sample the activity of the database inside the block."""
    ended = Event()

    def look() -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            while not ended.wait(LOOK_EVERY):
                transaction, wait = connection.execute(ACTIVITY, [ERASE]).fetchone()
                phase.transaction = max(phase.transaction, float(transaction))
                phase.wait = max(phase.wait, float(wait))

    thread = Thread(target=look, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def soft_delete(url: str, caller: Caller) -> Phase:
    """Mark all rows of a device as deleted in one transaction."""
    with phase([], url) as measured, psycopg.connect(url) as connection:
        began = time.monotonic()
        for table in OWNED:
            statement = f"UPDATE {table} SET deleted_at = now(), revision = revision + 100000 WHERE device_id = %s"
            connection.execute(statement, [caller.id])
        connection.commit()
        measured.seconds = time.monotonic() - began
    return measured


# --- the page -------------------------------------------------------------------------------------


def page(arguments: argparse.Namespace, of_postgres: list, former: Phase, of_sqlite: list) -> str:
    command = f"python -m benchmarks.erasure --rounds {arguments.rounds} --seconds {arguments.seconds}"
    rows = [f"{int(number * arguments.share):,}" for number in (PRODUCTS, PORTIONS, ENTRIES)]
    return "\n".join(
        [
            "# Erasure",
            "",
            f"Made by `{command}` on {describe_machine()}.",
            "",
            f"A device at its quota has {rows[0]} products, {rows[1]} portions and {rows[2]} food entries. During the",
            f"erasure, {PHONES} other devices send about {PHONES / PAUSE:.0f} requests per second. WAL includes their",
            "writes. Dead rows are those left at the end. Figures of several erasures are medians or maximums.",
            "",
            "## PostgreSQL",
            "",
            *deletions(of_postgres),
            "",
            *costs(of_postgres, former),
            "",
            *others(of_postgres),
            "",
            "## SQLite",
            "",
            *deletions(of_sqlite),
            "",
            f"`manage.py erase` of a device at its quota: {seconds([during.seconds for _, during in of_sqlite])} s.",
            "",
            *others(of_sqlite),
            "",
        ]
    )


def deletions(rounds: list[tuple[Phase, Phase]]) -> list[str]:
    lines = ["| `DELETE /v1/devices/me` | requests | median, ms | worst |", "|---|--:|--:|--:|"]
    for kind in ("a device at its quota", "an empty device"):
        taken = [one * 1000 for _, during in rounds for one in during.requests[kind]]
        lines.append(f"| {kind} | {len(taken)} | {statistics.median(taken):.1f} | {max(taken):.1f} |")
    return lines


def costs(rounds: list[tuple[Phase, Phase]], former: Phase) -> list[str]:
    during = [during for _, during in rounds]
    medians = [
        statistics.median(one) for one in zip(*((each.seconds, each.wal, each.dead) for each in during), strict=True)
    ]
    head = ("seconds", "WAL, MB", "dead rows", "longest transaction, s", "longest wait for a lock, s")
    return [
        f"| a device at its quota | {' | '.join(head)} |",
        "|---" + "|--:" * len(head) + "|",
        cost("`manage.py erase`", *medians, max(one.transaction for one in during), max(one.wait for one in during)),
        cost("soft deletion in one transaction", former.seconds, former.wal, former.dead, former.seconds, former.wait),
    ]


def cost(name: str, seconds: float, wal: float, dead: float, transaction: float, wait: float) -> str:
    return f"| {name} | {seconds:.1f} | {wal / 1e6:.0f} | {dead:,.0f} | {transaction:.3f} | {wait:.3f} |"


def others(rounds: list[tuple[Phase, Phase]]) -> list[str]:
    head = ("requests", "p50, ms", "p99", "worst", "failed")
    lines = [f"| other devices | {' | '.join(head)} |", "|---" + "|--:" * len(head) + "|"]
    for writes, kind in ((False, "reads"), (True, "writes")):
        for place, when in ((0, "nothing is erased"), (1, "a device is erased")):
            phases = [both[place] for both in rounds]
            taken = sorted(one * 1000 for each in phases for one in each.times(writes=writes))
            wrong = sum(
                bool(one.wrong) for each in phases for one in each.samples if one.request.startswith("GET") != writes
            )
            lines.append(
                f"| {kind}, {when} | {len(taken):,} | {statistics.median(taken):.1f} "
                f"| {taken[int(len(taken) * 0.99)]:.1f} | {taken[-1]:.1f} | {wrong} |"
            )
    return lines


def seconds(taken: list[float]) -> str:
    return f"{statistics.median(taken):.1f}"


if __name__ == "__main__":
    main()
