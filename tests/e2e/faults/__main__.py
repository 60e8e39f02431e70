"""Fault injection: no acknowledged write is lost, and no write is stored in part. Run it with `make faults`.

The service runs as `make run` starts it, on a PostgreSQL of its own. Phones write, and retry requests without a
response. Half of them erase their device now and then. Meanwhile workers are killed, the database crashes and restarts,
connections are cut, and `manage.py erase` is run and killed again and again. At the end, `erase` runs once to its end,
and the database is compared with the phones' journals. Exits with 1 if a write is lost or torn, if data of an erased
device is left, if a device was erased without a request, or if a phone got an impossible response.

`--seconds` is the duration (default: FAULT_SECONDS, or 60). `--synchronous-commit off` lets PostgreSQL lose
acknowledged commits, so that the run must fail.
"""

import argparse
import itertools
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import psycopg

from tests.e2e.faults.audit import find_faults
from tests.e2e.faults.phones import RETRY_SECONDS, JournalingPhone
from tests.harness.machine import workers_of
from tests.harness.processes import ROOT, Postgres, folder_of_owner, postgres, wait_until
from tests.harness.servers import Server, manage, migrate, our_server, run_servers, say

DATABASE = "countonme"
PHONES = 8
PAUSE = (0.2, 1.5)  # seconds between two faults
ERASES = 2  # how many run at once
KILLED_AFTER = (0, 0.15)  # seconds until `erase` is killed
SHOWN = 10


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # exit normally, to stop all processes
    arguments = parse_arguments()
    random.seed(arguments.seed)
    say(f"seed {arguments.seed}, {arguments.seconds:g} seconds")
    settings = {"synchronous_commit": arguments.synchronous_commit, "wal_writer_delay": "10s"}
    with folder_of_owner() as folder, postgres(folder / "data", **settings) as database:
        service = server_on(database)
        ledger = Path(service.environment["ERASURE_LEDGER"])
        with run_servers(service), ThreadPoolExecutor(PHONES + ERASES) as pool:
            phones = [JournalingPhone(service.port, arguments.seed + n, erases=bool(n % 2)) for n in range(PHONES)]
            list(pool.map(JournalingPhone.register, phones))
            end = time.monotonic() + arguments.seconds
            calls = [pool.submit(phone.run, end) for phone in phones]
            erases = [pool.submit(killed_erases, f"erase {n}", service, database, end) for n in range(ERASES)]
            injected = inject_faults(service, database, end)
            errors = errors_of(calls)
            for erase in erases:
                injected += erase.result()
            wait_until_ready(service)
            manage(service.environment, "erase")
            crash(database)  # only what is on disk counts
            wait_until_ready(service)
            errors += errors_of([pool.submit(phone.return_as_erased) for phone in phones])
        found = find_faults(database.url(DATABASE), phones, ledger)
    return report(phones, injected, found | {"errors of phones": errors})


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=float(os.environ.get("FAULT_SECONDS", "60")))
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="repeats the choices of a run")
    parser.add_argument("--synchronous-commit", choices=["on", "off"], default="on")
    return parser.parse_args()


def server_on(database: Postgres) -> Server:
    """Return the service on a new, migrated database."""
    database.run(f"CREATE DATABASE {DATABASE}")
    migrate(database.url(DATABASE))
    return our_server(database.url(DATABASE))


# --- faults ---------------------------------------------------------------------------------------


def inject_faults(service: Server, database: Postgres, end: float) -> Counter:
    """Inject faults of all kinds in turn until the end. Return how many of each kind."""
    kinds = {
        "worker killed": lambda: kill_a_worker(service),
        "database crashed": lambda: crash(database),
        "connections cut": lambda: cut(database),
    }
    injected, turns = Counter(), itertools.cycle(random.sample(list(kinds), len(kinds)))
    time.sleep(random.uniform(*PAUSE))
    while time.monotonic() < end:
        kind = next(turns)
        kinds[kind]()
        injected[kind] += 1
        time.sleep(random.uniform(*PAUSE))
    return injected


def kill_a_worker(service: Server) -> None:
    if workers := workers_of(service.process.pid):
        os.kill(random.choice(workers), signal.SIGKILL)


def crash(database: Postgres) -> None:
    """Stop as after a power failure, and restart from the data on disk."""
    database.stop()
    database.start()


def cut(database: Postgres) -> None:
    """Terminate every connection to the service's database, also in the middle of a query."""
    database.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", DATABASE)


def killed_erases(name: str, service: Server, database: Postgres, end: float) -> Counter:
    """Run `manage.py erase` again and again. Kill it shortly after it has connected to the database."""
    runs = Counter()
    environment = {**os.environ, **service.environment, "PGAPPNAME": name}
    command = [sys.executable, "manage.py", "erase"]
    while time.monotonic() < end:
        with subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as erase:
            try:
                wait_until(lambda: erase.poll() is not None or is_connected(database, name), "erase does not connect")
                time.sleep(random.uniform(*KILLED_AFTER))
            finally:
                erase.kill()
        if erase.returncode == -signal.SIGKILL:
            runs["erase killed"] += 1
            runs["of these with work left"] += has_work_left(database)
        else:
            runs["erase failed" if erase.returncode else "erase completed"] += 1
    return runs


def is_connected(database: Postgres, name: str) -> bool:
    with suppress(psycopg.OperationalError):  # the database has crashed
        return bool(database.run("SELECT 1 FROM pg_stat_activity WHERE application_name = %s", name))
    return False


def has_work_left(database: Postgres) -> bool:
    with suppress(psycopg.OperationalError):
        return bool(database.run("SELECT 1 FROM erasures WHERE erased_at IS NULL LIMIT 1", database=DATABASE))
    return False


# --- afterwards -----------------------------------------------------------------------------------


def errors_of(calls: list[Future]) -> list[str]:
    """Wait for all phones, and return the exceptions that ended any of them."""
    errors = [call.exception(2 * RETRY_SECONDS) for call in calls]
    return [f"{type(error).__name__}: {error}" for error in errors if error]


def wait_until_ready(service: Server) -> None:
    wait_until(lambda: service.status("/readyz") == 200, "the service is not ready", RETRY_SECONDS)


def report(phones: list[JournalingPhone], injected: Counter, found: dict[str, list[str]]) -> int:
    """Print the faults and the figures, and return the exit code."""
    for kind, lines in found.items():
        for line in lines[:SHOWN]:
            say(f"{kind}: {line}")
    erased = [each for phone in phones for each in phone.erased]
    journals = [phone.journal for phone in phones]
    say(f"faults injected: {', '.join(f'{n} × {kind}' for kind, n in injected.items())}")
    all_journals = [*journals, *(each.journal for each in erased)]
    answered, again = (sum(getattr(journal, name) for journal in all_journals) for name in ("answered", "again"))
    say(f"requests acknowledged: {answered}, {again} of them after a retry")
    say(f"writes acknowledged: {sum(journal.changes for journal in all_journals)}")
    rows_erased = sum(len(each.row_ids) for each in erased)
    by_receipt = sum(each.by_receipt for each in erased)
    say(f"erasures acknowledged: {len(erased)}, {by_receipt} of them by the receipt alone, with {rows_erased} rows")
    rows = sum(len(rows) for journal in journals for rows in (*journal.live.values(), *journal.deleted.values()))
    say(f"rows checked: {rows}")
    say(", ".join(f"{kind}: {len(lines)}" for kind, lines in found.items()))
    return 1 if any(found.values()) or not rows or not erased else 0


if __name__ == "__main__":
    sys.exit(main())
