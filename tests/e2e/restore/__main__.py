"""Rehearse a restore: back up, write more, restore the backup, and check that no phone has lost a row.

`python -m tests.e2e.restore`, on the PostgreSQL that BENCH_POSTGRES names. It runs the scripts of operators,
deploy/backup.sh and deploy/restore.sh, while gunicorn serves. Exits with 1 if a phone has lost a row, or if data of an
erased device came back.
"""

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import psycopg
from psycopg.rows import dict_row

from tests.e2e.faults.audit import traces
from tests.harness.databases import create_databases, url_of
from tests.harness.install import Install
from tests.harness.phone import Phone
from tests.harness.servers import ROOT, migrate, our_environment, our_server, run_servers, say
from tests.harness.sync import entry, portion, product, pull_changes


class Failed(Exception):
    pass


class RestoringInstall(Install):
    """An install that handles a restore of the service as docs/clients.md describes it."""

    def __init__(self, name: str):
        super().__init__(Phone(0))  # `serving` sets the port
        self.name, self.saw_restore, self.erasure_id = name, False, str(uuid4())

    def pull(self) -> None:
        content = pull_changes(self.api, self.cursor)
        if not content.get("restored"):
            super().pull()
            return
        self.saw_restore = True
        for table, changes in content["changes"].items():
            self.reclaim(table, changes, set(content.get("newer", {}).get(table, ())))
        self.cursor = content["timestamp"]

    def reclaim(self, table: str, changes: dict, newer: set[str]) -> None:
        """Mark rows to push again: those that the response lacks, and those with other values that aren't newer."""
        for row_id in changes["deleted"]:
            self.records[table].pop(row_id, None)
            self.deletions[table].discard(row_id)
        stored = {row["id"]: row for row in changes["updated"]}
        for row_id, record in self.records[table].items():
            if row_id not in stored:
                record.created = True
            elif row_id not in newer:
                record.changed |= {name for name, value in stored[row_id].items() if record.row.get(name) != value}
        for row in stored.values():
            self.merge(table, row)

    def push_alone(self) -> None:
        """Push without a pull before it, so that the cursor doesn't change."""
        if self.push(lost=False) != 200:
            raise Failed(f"{self.name}: the push failed")

    def eat(self, name: str) -> str:
        """Add a product with a portion and an entry. Return the product's id."""
        food = product(name=name)
        piece = portion(food, is_default=True)
        self.create("products", food)
        self.create("portions", piece)
        self.create("food_entries", entry(food, portion_id=piece["id"], quantity=2, grams=71))
        return food["id"]

    def erase(self) -> None:
        """Request the erasure of the device."""
        if self.api.send("DELETE", f"/v1/devices/me?erasure_id={self.erasure_id}").status_code != 204:
            raise Failed(f"{self.name}: the request of the erasure failed")

    def local_rows(self) -> dict:
        """Return the rows of the install, with the columns that it writes."""
        return {
            table: {
                row_id: {name: record.row.get(name) for name in WRITTEN[table]} for row_id, record in records.items()
            }
            for table, records in self.records.items()
        }

    def server_rows(self) -> dict:
        """Return the rows of a first pull, with the same columns."""
        changes = pull_changes(self.api)["changes"]
        return {
            table: {row["id"]: {name: row[name] for name in WRITTEN[table]} for row in changes[table]["updated"]}
            for table in WRITTEN
        }


WRITTEN = {
    "products": tuple(product()),
    "portions": tuple(portion({"id": ""})),
    "food_entries": tuple(entry({"id": ""})),
}


def before_the_backup(phones: list[RestoringInstall]) -> None:
    for phone in phones:
        phone.api.register()
        phone.eat("Rye bread")
        phone.eat("Quark")
        settle(phone)
        settle(phone)


def after_it(
    pushes: RestoringInstall, syncs: RestoringInstall, rests: RestoringInstall, late: RestoringInstall
) -> None:
    """Let one phone push without a pull, one sync several changes, one do nothing, and register a new one."""
    for phone in (pushes, syncs):
        first, _ = list(phone.records["products"])
        phone.edit("products", first, name="Rye bread, toasted", kcal_100g=300)
        phone.edit("food_entries", next(iter(phone.records["food_entries"])), grams=99, quantity=None, portion_id=None)
        phone.eat("Elderberry soup")
    pushes.push_alone()
    settle(syncs)
    syncs.eat("Semolina dumplings")
    settle(syncs)
    settle(syncs)
    late.api.register()
    late.pull()
    late.eat("Plum cake")
    settle(late)


def settle(phone: RestoringInstall) -> None:
    if not phone.sync():
        raise Failed(f"{phone.name}: the sync failed")


def afterwards(phones: list[RestoringInstall], late: RestoringInstall) -> None:
    """Let each phone sync with the restored service, and compare its rows with those of the service."""
    if late.api.get("/v1/sync").status_code != 401:
        raise Failed("the token of a device that the backup does not contain was accepted")
    late.api.register()
    for phone in (*phones, late):
        before = phone.local_rows()
        settle(phone)
        settle(phone)
        if not phone.saw_restore:
            raise Failed(f"{phone.name}: no pull reported the restore")
        if lost := differences(before, phone.local_rows()):
            raise Failed(f"{phone.name}: the phone lost {lost}")
        if lost := differences(before, phone.server_rows()):
            raise Failed(f"{phone.name}: the service lacks {lost}")
        say(f"{phone.name}: a pull reported the restore, and all {sum(map(len, before.values()))} rows are there")


def check_erasures(phones: list[RestoringInstall], database: str) -> None:
    """Raise Failed if the restored service accepts or stores data of an erased device, or lacks its receipt."""
    for phone in phones:
        if phone.api.get("/v1/devices/me").status_code != 401:
            raise Failed(f"{phone.name}: the token is accepted")
        if phone.api.post("/v1/auth/register", {"device_id": phone.api.device_id}).status_code != 409:
            raise Failed(f"{phone.name}: the id can be registered")
        phone.api.token = ""
        receipt = phone.api.get(f"/v1/erasures/{phone.erasure_id}")
        if receipt.status_code != 200 or not receipt.json()["erased_at"]:
            raise Failed(f"{phone.name}: the receipt is {receipt}")
        ids = [phone.api.device_id, *(row_id for records in phone.records.values() for row_id in records)]
        with psycopg.connect(url_of(database), row_factory=dict_row) as connection:
            if found := traces(connection, ids):
                raise Failed(f"{phone.name}: {found}")
        say(f"{phone.name}: rejected, and none of its {len(ids) - 1} rows came back")


def differences(wanted: dict, found: dict) -> list:
    return [
        (table, row_id, row, found[table].get(row_id))
        for table, rows in wanted.items()
        for row_id, row in rows.items()
        if found[table].get(row_id) != row
    ]


def script(name: str, database: str, *arguments: str, **environment: str) -> str:
    """Run a script of deploy/ on a database, with the service's settings, and return its output."""
    command = [str(ROOT / "deploy" / name), *arguments]
    environment = {**os.environ, **our_environment(url_of(database), **environment)}
    run = subprocess.run(command, cwd=ROOT, env=environment, text=True, capture_output=True, check=False)
    if run.returncode:
        raise Failed(f"{name}: {run.stderr.strip()}")
    return run.stdout.strip()


def rehearse() -> None:
    old, new, elsewhere = (f"countonme_{which}_{secrets.token_hex(4)}" for which in ("lost", "restored", "elsewhere"))
    pushes, syncs, rests, late = stay = [
        RestoringInstall(name)
        for name in ("pushed after the backup", "pulled after it", "did neither", "came after it")
    ]
    early, last = leave = [
        RestoringInstall("erased before the next backup"),
        RestoringInstall("erased after the last backup"),
    ]
    with (
        create_databases(old, new, elsewhere),
        tempfile.TemporaryDirectory() as backups,
        tempfile.TemporaryDirectory() as machine,
    ):
        ledger = {"ERASURE_LEDGER": f"{machine}/erasures.txt"}
        migrate(url_of(old))
        with serving(old, ledger, [*stay, *leave]):
            before_the_backup([pushes, syncs, rests, *leave])
            backup = script("backup.sh", old, BACKUPS=backups, **ledger)
            say(f"backed up {Path(backup).stat().st_size} bytes")
            after_it(pushes, syncs, rests, late)
            early.erase()
            time.sleep(1)  # the name of a backup has its time in seconds
            script("backup.sh", old, BACKUPS=backups, **ledger)
            last.erase()
        # Restore the first backup, which contains the devices that were erased after it.
        say(script("restore.sh", new, backup, PYTHON=sys.executable, **ledger))
        with serving(new, ledger, [*stay, *leave]):
            afterwards([pushes, syncs, rests], late)
            check_erasures(leave, new)
        say("On another machine, with the copy of the ledger in the folder of the backups:")
        ledger = {"ERASURE_LEDGER": f"{machine}/another.txt"}
        say(script("restore.sh", elsewhere, backup, PYTHON=sys.executable, **ledger))
        with serving(elsewhere, ledger, [early]):
            check_erasures([early], elsewhere)


@contextmanager
def serving(database: str, settings: dict[str, str], phones: list[RestoringInstall]) -> Iterator[None]:
    """Serve a database inside the block, and set the port of the phones."""
    server = our_server(url_of(database), **settings)
    with run_servers(server):
        for phone in phones:
            phone.api.port = server.port
        yield


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # exit normally, to stop the service
    if not shutil.which("pg_dump"):
        say("pg_dump is not installed: a restore can't be rehearsed. On Debian: apt-get install postgresql-client")
        return 1
    try:
        rehearse()
    except Failed as failed:
        say(f"FAILED: {failed}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
