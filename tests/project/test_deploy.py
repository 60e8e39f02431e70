"""The scripts and configuration files in deploy/, docker-compose.yml, the Dockerfile, and the pages about them."""

import fcntl
import hashlib
import json
import os
import re
import shutil
import signal
import sqlite3
import ssl
import stat
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from datetime import timedelta
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from pathlib import Path
from socket import create_connection
from threading import Thread
from urllib.error import HTTPError
from urllib.request import Request, urlopen
from uuid import UUID, uuid4

import psycopg
import pytest
import yaml
from django.conf import settings
from django.core.management import get_commands

from devices.models import hash_device_id
from tests.harness.databases import create_databases, url_of
from tests.harness.our_apps import our_apps, sources
from tests.harness.processes import PLACES, folder_of_owner, free_port, postgres, wait_until
from tests.harness.servers import manage
from tests.harness.service import serve, server_of_tests
from tests.harness.sync import entry, portion, product

ROOT = Path(settings.BASE_DIR)
DEPLOY = ROOT / "deploy"


def run(*command, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(list(map(str, command)), cwd=ROOT, env=environment, capture_output=True, text=True)


def modes(folder: Path, pattern: str = "*") -> dict[str, int]:
    """Return the permissions of the files in a folder."""
    return {file.name: stat.S_IMODE(file.stat().st_mode) for file in folder.glob(pattern)}


@pytest.fixture
def usual_umask():
    """Set the usual umask, with which new files can be read by every user."""
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.fixture
def commands(tmp_path):
    """Return a function that fills a folder with real commands and with fake ones, and returns its path."""
    folder = tmp_path / "bin"
    folder.mkdir()

    def add(*real: str, **fake: str) -> str:
        for name in real:
            (folder / name).symlink_to(shutil.which(name))
        for name, script in fake.items():
            (folder / name).write_text(f"#!/bin/sh\n{script}\n")
            (folder / name).chmod(0o755)
        return str(folder)

    return add


@pytest.mark.usefixtures("usual_umask")
class TestFilesWithData:
    """Only the user of the service can read them."""

    def create_database(self, folder: Path) -> str:
        """Create an SQLite database as `make run` does, and return its URL."""
        url = f"sqlite:///{folder / 'db.sqlite3'}"
        migrate = run(sys.executable, "manage.py", "migrate", "--noinput", **{**os.environ, "DATABASE_URL": url})
        assert migrate.returncode == 0, migrate.stderr
        return url

    def test_are_private_if_migrate_creates_them(self, tmp_path):
        self.create_database(tmp_path)

        assert modes(tmp_path) == {"db.sqlite3": 0o600}

    def test_are_private_while_the_service_writes(self, tmp_path):
        url = self.create_database(tmp_path)

        with serve(url, tmp_path / "log") as service:
            service.register()

            assert modes(tmp_path, "db.*") == {"db.sqlite3": 0o600, "db.sqlite3-wal": 0o600, "db.sqlite3-shm": 0o600}
            for worker in service.workers():
                assert "\nUmask:\t0077\n" in Path(f"/proc/{worker}/status").read_text()

    def test_are_private_if_they_are_exports(self, tmp_path):
        url = self.create_database(tmp_path)

        dumped = run(
            *(sys.executable, "manage.py", "dumpdata", "devices", "--output", tmp_path / "devices.json"),
            **{**os.environ, "DATABASE_URL": url},
        )

        assert dumped.returncode == 0, dumped.stderr
        assert modes(tmp_path, "*.json") == {"devices.json": 0o600}

    def test_are_private_if_make_writes_a_key(self, tmp_path):
        (tmp_path / ".env").write_text("LOG_LEVEL=INFO\n")  # a copy of .env.example, which every user can read

        run("make", f"--file={ROOT / 'Makefile'}", f"--directory={tmp_path}", "key", PATH=os.environ["PATH"])

        assert "SECRET_KEY=" in (tmp_path / ".env").read_text()
        assert modes(tmp_path)[".env"] & 0o007 == 0


LINES = [f"2026-01-0{day}T07:30:12Z {uuid4()} {hashlib.sha256(bytes([day])).hexdigest()}" for day in range(1, 6)]


class TestBackup:
    TOOLS = ("date", "dirname", "find", "flock", "grep", "mv", "rm", "sort", "sync")
    DUMPS = 'for a; do case $a in --file=*) echo data > "${a#--file=}";; esac; done'
    POSTGRES = {"pg_dump": DUMPS, "pg_restore": "exit 0", "psql": "exit 0"}

    @pytest.fixture
    def folder(self, tmp_path):
        folder = tmp_path / "backups"
        folder.mkdir()
        return folder

    @pytest.fixture
    def ledger(self, tmp_path):
        return tmp_path / "erasures.txt"

    @pytest.fixture
    def back_up(self, commands, folder, ledger):
        """Return a function that runs backup.sh, by default with fake PostgreSQL programs."""

        def back_up(path: str = "", pg_dump: str = self.DUMPS, **environment: str) -> subprocess.CompletedProcess:
            path = path or commands(*self.TOOLS, **self.POSTGRES | {"pg_dump": pg_dump})
            known = {"DATABASE_URL": "postgres:///countonme", "BACKUPS": str(folder), "ERASURE_LEDGER": str(ledger)}
            return run("/bin/sh", DEPLOY / "backup.sh", PATH=path, **known | environment)

        return back_up

    def put(self, file: Path, *, age: timedelta) -> None:
        file.touch()
        os.utime(file, times=(time.time() - age.total_seconds(),) * 2)

    def test_reports_that_pg_dump_is_missing(self, back_up, commands):
        done = back_up(commands(*self.TOOLS))

        assert done.returncode == 1
        assert done.stderr == "pg_dump is not installed. On Debian: apt-get install postgresql-client\n"

    @pytest.mark.parametrize("variable", ["DATABASE_PASSWORD", "DATABASE_PASSWORD_FILE"])
    def test_gives_the_password_to_pg_dump(self, back_up, commands, tmp_path, variable):
        (tmp_path / "secret").write_text("a/b+c@d\n")
        value = str(tmp_path / "secret") if variable.endswith("_FILE") else "a/b+c@d"
        pg_dump = f'echo "$PGPASSWORD" > {tmp_path}/seen; {self.DUMPS}'
        path = commands(*self.TOOLS, "cat", **self.POSTGRES | {"pg_dump": pg_dump})

        done = back_up(path, **{variable: value})

        assert done.returncode == 0, done.stderr
        assert (tmp_path / "seen").read_text() == "a/b+c@d\n"

    def test_reads_the_url_from_a_file(self, back_up, commands, tmp_path):
        (tmp_path / "url").write_text("postgres:///elsewhere\n")
        pg_dump = f'echo "$@" > {tmp_path}/seen; {self.DUMPS}'
        path = commands(*self.TOOLS, "cat", **self.POSTGRES | {"pg_dump": pg_dump})

        done = back_up(path, DATABASE_URL="", DATABASE_URL_FILE=str(tmp_path / "url"))

        assert done.returncode == 0, done.stderr
        assert "--dbname=postgres:///elsewhere\n" in (tmp_path / "seen").read_text()

    @pytest.mark.parametrize("name", ["DATABASE_URL", "DATABASE_PASSWORD"])
    def test_fails_without_its_secrets(self, back_up, commands, folder, tmp_path, name):
        self.put(folder / "countonme-last-good-one.dump", age=timedelta(days=20))
        path = commands(*self.TOOLS, "cat", **self.POSTGRES)

        done = back_up(path, **{name: "", f"{name}_FILE": str(tmp_path / "missing")})

        assert done.returncode != 0
        assert f"{tmp_path / 'missing'}: No such file" in done.stderr
        assert [file.name for file in folder.iterdir()] == ["countonme-last-good-one.dump"]

    @pytest.mark.parametrize("url", ["sqlite:///db.sqlite3", ""])
    def test_rejects_other_databases(self, back_up, url):
        done = back_up(DATABASE_URL=url)

        assert done.returncode != 0
        assert "DATABASE_URL" in done.stderr

    @pytest.mark.usefixtures("usual_umask")
    def test_creates_private_files(self, back_up, folder, ledger):
        ledger.write_text(f"{LINES[0]}\n")

        done = back_up()

        made = Path(done.stdout.strip())
        assert (done.returncode, done.stderr) == (0, "")
        assert made.read_text() == "data\n"
        assert modes(folder) == {made.name: 0o600, "erasures.txt": 0o600}

    @pytest.mark.parametrize("days", [None, 14, 1, 30])
    def test_removes_backups_older_than_the_retention_minus_an_hour(self, back_up, folder, days):
        limit = timedelta(days=days or 14) - timedelta(hours=1)
        self.put(folder / "countonme-older.dump", age=limit + timedelta(minutes=1))
        self.put(folder / "countonme-newer.dump", age=limit - timedelta(minutes=1))

        done = back_up(**({"BACKUP_RETENTION": str(days)} if days else {}))

        assert done.returncode == 0, done.stderr
        assert {file.name for file in folder.iterdir()} == {"countonme-newer.dump", Path(done.stdout.strip()).name}

    @pytest.mark.parametrize("days", ["0", "-1", "1.5", "two", " 14", "014", "99999999999999999999"])
    def test_rejects_a_retention_that_is_not_a_number_of_days(self, back_up, folder, days):
        self.put(folder / "countonme-older.dump", age=timedelta(days=400))

        done = back_up(BACKUP_RETENTION=days)

        assert done.returncode == 1
        assert done.stderr == f"BACKUP_RETENTION is '{days}'. It must be a whole number of days, from 1 to 99999.\n"
        assert [file.name for file in folder.iterdir()] == ["countonme-older.dump"]

    def test_removes_unfinished_backups_and_no_other_files(self, back_up, folder):
        self.put(folder / "countonme-20260105T030000Z.dump.part", age=timedelta(hours=2))
        self.put(folder / "other.dump", age=timedelta(days=400))
        (folder / "erasures.txt").write_text(f"{LINES[0]}\n")
        self.put(folder / "erasures.txt", age=timedelta(days=400))
        self.put(folder / "erasures-second.txt", age=timedelta(days=400))

        done = back_up()

        made = Path(done.stdout.strip()).name
        kept = {"other.dump", "erasures.txt", "erasures-second.txt"}
        assert {file.name for file in folder.iterdir()} == {made, *kept}
        assert (folder / "erasures.txt").read_text() == f"{LINES[0]}\n"

    @pytest.mark.parametrize("failing", [{"pg_dump": f"{DUMPS}; exit 1"}, {"pg_restore": "exit 1"}], ids=str)
    def test_removes_nothing_if_it_fails(self, back_up, commands, folder, ledger, failing):
        self.put(folder / "countonme-last-good-one.dump", age=timedelta(days=20))
        ledger.write_text(f"{LINES[0]}\n")

        done = back_up(commands(*self.TOOLS, **self.POSTGRES | failing))

        assert done.returncode == 1
        assert {file.name for file in folder.iterdir()} == {"countonme-last-good-one.dump", "erasures.txt"}
        assert (folder / "erasures.txt").read_text() == f"{LINES[0]}\n"  # it is copied before the backup

    def test_copies_lines_that_are_added_to_the_ledger_during_the_backup(self, back_up, folder, ledger):
        ledger.write_text(f"{LINES[0]}\n")

        back_up(pg_dump=f"echo '{LINES[1]}' >> {ledger}; {self.DUMPS}")

        assert (folder / "erasures.txt").read_text().splitlines() == LINES[:2]

    def test_copies_the_ledger_of_the_current_folder_by_default(self, back_up, folder):
        done = back_up(ERASURE_LEDGER="")

        assert "ERASURE_LEDGER names erasures.txt, which does not exist" in done.stderr

    def test_reports_that_there_is_no_ledger(self, back_up, folder, ledger):
        (folder / "erasures.txt").write_text(f"{LINES[0]}\n")

        done = back_up()

        assert done.returncode == 0
        assert done.stderr == (
            f"There is no ledger of erasures yet: ERASURE_LEDGER names {ledger}, which does not exist.\n"
        )
        assert (folder / "erasures.txt").read_text() == f"{LINES[0]}\n"

    def test_keeps_lines_of_the_copy_that_the_ledger_lacks(self, back_up, folder, ledger):
        (folder / "erasures.txt").write_text("".join(f"{line}\n" for line in LINES[:3]))
        ledger.write_text(f"{LINES[2]}\n{LINES[4]}\n{LINES[3]}\n")

        back_up()

        assert (folder / "erasures.txt").read_text().splitlines() == LINES

    def test_does_not_copy_an_incomplete_line(self, back_up, folder, ledger):
        ledger.write_text(f"{LINES[0]}\n{LINES[1][:-1]}")

        back_up()

        assert (folder / "erasures.txt").read_text() == f"{LINES[0]}\n"

    def test_fails_after_the_backup_if_the_ledger_cannot_be_read(self, back_up, folder, ledger):
        (folder / "erasures.txt").write_text(f"{LINES[0]}\n")
        ledger.mkdir()

        done = back_up()

        assert done.returncode != 0
        assert Path(done.stdout.strip()).read_text() == "data\n"
        assert (folder / "erasures.txt").read_text() == f"{LINES[0]}\n"

    def test_fails_after_the_backup_if_it_cannot_be_recorded(self, back_up, commands, folder):
        self.put(folder / "countonme-older.dump", age=timedelta(days=400))

        done = back_up(commands(*self.TOOLS, **self.POSTGRES | {"psql": "exit 2"}), ERASURE_LEDGER="")

        assert done.returncode == 1
        assert "The backup is complete, but the database has no record of it." in done.stderr
        assert [str(file) for file in folder.iterdir()] == [done.stdout.strip()]

    def test_waits_for_the_end_of_another_backup(self, commands, folder):
        path = commands(*self.TOOLS, **self.POSTGRES)
        known = {"PATH": path, "DATABASE_URL": "postgres:///countonme", "BACKUPS": str(folder)}
        lock = os.open(folder, os.O_RDONLY)
        fcntl.flock(lock, fcntl.LOCK_EX)
        second = subprocess.Popen(["/bin/sh", DEPLOY / "backup.sh"], env=known, stderr=subprocess.PIPE, text=True)
        try:
            assert second.stderr.readline() == "Another backup is running. This one waits for its end.\n"
            assert list(folder.iterdir()) == []
        finally:
            os.close(lock)
            second.communicate(timeout=30)

        assert second.returncode == 0
        assert len(list(folder.iterdir())) == 1


@pytest.mark.direct
@pytest.mark.postgres
class TestBackupOfPostgreSQL:
    @pytest.fixture
    def empty_url(self, live_url):
        """The URL of a new, empty database."""
        name = f"{live_url.rpartition('/')[2]}_restored"
        with create_databases(name, server=server_of_tests()):
            yield url_of(name, server_of_tests())

    def test_can_be_restored_with_its_ledger(self, live_url, empty_url, tmp_path):
        ledger, backups, calls = tmp_path / "ledger", tmp_path / "back ups", tmp_path / "calls"
        backups.mkdir()
        ledger.write_text(f"{LINES[0]}\n")
        python = tmp_path / "python"
        python.write_text(f'#!/bin/sh\necho "$@" >> {calls}\n')
        python.chmod(0o755)
        here = {"PATH": os.environ["PATH"], "BACKUPS": str(backups), "ERASURE_LEDGER": str(ledger)}

        made = run(DEPLOY / "backup.sh", **here, DATABASE_URL=live_url)
        restored = run(
            *(DEPLOY / "restore.sh", made.stdout.strip()), **here, DATABASE_URL=empty_url, PYTHON=str(python)
        )

        assert (made.returncode, made.stderr) == (0, "")
        assert (restored.returncode, restored.stderr) == (0, "")
        assert [call.removeprefix(f"{DEPLOY}/../manage.py ") for call in calls.read_text().splitlines()] == [
            "check",
            "migrate --noinput --verbosity 0",
            f"after_restore --ledger {backups / 'erasures.txt'}",
        ]
        with psycopg.connect(live_url) as original, psycopg.connect(empty_url) as copy:
            query = "SELECT app, name FROM django_migrations ORDER BY id"
            assert copy.execute(query).fetchall() == original.execute(query).fetchall() != []

    def test_is_recorded_for_the_metrics(self, live_url, tmp_path):
        backups, before = tmp_path / "backups", int(time.time())
        backups.mkdir()
        with serve(live_url, tmp_path / "log", METRICS_TOKEN="x" * 20) as service:
            service.phone.token = "x" * 20
            done = run(DEPLOY / "backup.sh", PATH=os.environ["PATH"], BACKUPS=str(backups), DATABASE_URL=live_url)

            assert done.returncode == 0, done.stderr
            text = service.phone.get("/metrics").content.decode()
            (began,) = re.findall(r"^countonme_last_backup_timestamp_seconds (\S+)$", text, re.M)
            assert before <= float(began) <= time.time()

    def test_contains_no_data_of_an_erased_device(self, live_url, tmp_path):
        ledger, first, second = tmp_path / "erasures.txt", tmp_path / "first", tmp_path / "second"
        here = {"DATABASE_URL": live_url, "ERASURE_LEDGER": str(ledger)}
        food = "Insulin shake"

        def back_up(folder: Path) -> str:
            """Make a backup. Return it as a text, with the content of every file in the folder."""
            folder.mkdir()
            made = run(DEPLOY / "backup.sh", PATH=os.environ["PATH"], BACKUPS=str(folder), **here)
            assert (made.returncode, made.stderr) == (0, "")
            dump = run(shutil.which("pg_restore"), "--file=-", made.stdout.strip()).stdout
            return "".join([dump, *(file.read_bytes().decode("latin-1") for file in folder.iterdir())])

        def traces(text: str) -> list[str]:
            return [trace for trace in (device_id, UUID(device_id).hex, food.lower()) if trace in text.lower()]

        with serve(live_url, tmp_path / "log", LOG_FORMAT="json", **here) as service:
            device_id = service.register()
            ledger.touch()
            bread = product(name=food, barcode="4006040055556")
            rows = {"products": [bread], "portions": [portion(bread)], "food_entries": [entry(bread)]}
            pushed = {table: {"created": created, "updated": [], "deleted": []} for table, created in rows.items()}
            assert service.phone.post("/v1/sync", pushed).status_code == 200
            assert service.phone.post("/v1/products", product(barcode=bread["barcode"])).status_code == 409
            assert service.phone.get("/v1/products?search=Insulin%20shake").status_code == 200
            assert traces(back_up(first)) == [device_id, food.lower()]

            assert service.phone.send("DELETE", "/v1/devices/me").status_code == 204
            manage(here, "erase")

            assert traces(back_up(second)) == []
            copy = (second / "erasures.txt").read_text()
            assert hash_device_id(UUID(device_id)) in copy
        log = (tmp_path / "log").read_text()
        assert '"route":"/v1/devices/me","status":204' in log
        assert traces(log) == []

    def test_fails_if_the_database_is_unavailable(self, live_url, tmp_path):
        good = tmp_path / "countonme-20260105T030000Z.dump"
        good.write_text("good")
        os.utime(good, times=(0, 0))

        done = run(
            DEPLOY / "backup.sh", PATH=os.environ["PATH"], BACKUPS=str(tmp_path), DATABASE_URL=f"{live_url}_away"
        )

        assert done.returncode != 0
        assert [file.read_text() for file in tmp_path.iterdir()] == ["good"]


class TestRestore:
    @pytest.fixture
    def folder(self, tmp_path):
        folder = tmp_path / "back ups"
        folder.mkdir()
        (folder / "countonme.dump").touch()
        return folder

    @pytest.fixture
    def restore(self, commands, tmp_path, folder):
        """Return a function that runs restore.sh in another folder, with fake programs that write down their calls."""

        def restore(*arguments, tables: int = 0, **fakes: str) -> subprocess.CompletedProcess:
            write = f'printf "%s," "$@" >> {tmp_path}/calls'
            fakes = {"psql": f"echo {tables}", "pg_restore": "printf pg_restore,; " + write, "python": write} | fakes
            path = commands("dirname", "id", **fakes)
            return subprocess.run(
                ["/bin/sh", DEPLOY / "restore.sh", *map(str, arguments)],
                cwd=tmp_path,
                env={"PATH": path, "DATABASE_URL": "postgres:///new", "PYTHON": "python"},
                capture_output=True,
                text=True,
            )

        return restore

    def calls(self, folder: Path) -> list[str]:
        """Return the arguments of manage.py and pg_restore, without the names of files."""
        file = folder / "calls"
        written = file.read_text().split(",")[:-1] if file.exists() else []
        return [text for text in written if "/" not in text]

    @pytest.mark.parametrize("options", [[], ["--ledger", "of another machine"]], ids=["none", "given"])
    @pytest.mark.parametrize(
        "ledgers", [[], ["erasures.txt"], ["erasures-second one.txt", "erasures-third.txt"]], ids=str
    )
    def test_passes_options_and_all_ledgers_with_the_backup_to_after_restore(
        self, restore, folder, tmp_path, options, ledgers
    ):
        for name in ["erasures.txt.part", "countonme-erasures.txt", *ledgers]:
            (folder / name).touch()

        done = restore(folder / "countonme.dump", *options, pg_restore="exit 0")

        assert (done.returncode, done.stderr) == (0, "")
        program = f"{DEPLOY}/../manage.py"
        called = [program, "check", program, "migrate", "--noinput", "--verbosity", "0", program, "after_restore"]
        called += [*options, *(argument for name in ledgers for argument in ("--ledger", str(folder / name)))]
        assert (tmp_path / "calls").read_text().split(",")[:-1] == called

    def test_changes_nothing_if_a_setting_is_wrong(self, restore, folder, tmp_path):
        done = restore(folder / "countonme.dump", python="echo 'SECRET_KEY is not set.' >&2; exit 1", psql="exit 9")

        assert (done.returncode, done.stderr) == (1, "SECRET_KEY is not set.\n")
        assert self.calls(tmp_path) == []

    def test_changes_nothing_if_the_database_is_not_empty(self, restore, folder, tmp_path):
        done = restore(folder / "countonme.dump", tables=1)

        assert done.returncode == 1
        assert done.stderr.startswith("The database is not empty.")
        assert f"{DEPLOY}/restore.sh --continue {folder}/countonme.dump" in done.stderr
        assert self.calls(tmp_path) == ["check"]

    def test_changes_nothing_if_the_backup_cannot_be_read(self, restore, folder, tmp_path):
        done = restore(folder / "missing.dump")

        assert done.returncode == 1
        assert done.stderr.endswith(f" can't read {folder}/missing.dump, or it does not exist.\n")
        assert self.calls(tmp_path) == []

    def test_names_the_user_if_the_database_refuses_it(self, restore, folder, tmp_path):
        done = restore(folder / "countonme.dump", psql="echo 'FATAL:  role does not exist' >&2; exit 2")

        assert done.returncode == 1
        assert " can't connect to the database. Run this as the user of the service" in done.stderr
        assert self.calls(tmp_path) == ["check"]

    def test_does_what_is_left_with_the_option_continue(self, restore, folder, tmp_path):
        done = restore("--continue", folder / "countonme.dump", "--without-ledger", tables=1)

        assert (done.returncode, done.stderr) == (0, "")
        assert self.calls(tmp_path) == [
            *("check", "migrate", "--noinput", "--verbosity", "0", "after_restore", "--without-ledger")
        ]

    def test_does_not_continue_with_an_empty_database(self, restore, folder, tmp_path):
        done = restore("--continue", folder / "countonme.dump")

        assert done.returncode == 1
        assert done.stderr == (
            "The database is empty, so the data was not restored. Repeat the command without --continue.\n"
        )
        assert self.calls(tmp_path) == ["check"]


class TestBackupsOfSQLite:
    @pytest.mark.skipif(not shutil.which("sqlite3"), reason="needs sqlite3")
    @pytest.mark.parametrize("statement", ["VACUUM INTO 'backup.sqlite3'", ".backup backup.sqlite3"])
    def test_are_complete_while_the_service_writes(self, tmp_path, monkeypatch, statement, usual_umask):
        command = f'(umask 077; sqlite3 db.sqlite3 "{statement}")'
        assert f"\n{command}\n" in (ROOT / "docs/backup.md").read_text()
        monkeypatch.chdir(tmp_path)
        live = sqlite3.connect("db.sqlite3", isolation_level=None)
        live.execute("PRAGMA journal_mode=WAL")
        live.execute("CREATE TABLE eaten (name)")
        live.execute("INSERT INTO eaten VALUES ('rye')")

        subprocess.run(["sh", "-c", command], check=True)

        assert modes(tmp_path, "backup.*") == {"backup.sqlite3": 0o600}
        copy = sqlite3.connect("backup.sqlite3")
        assert copy.execute("SELECT name FROM eaten").fetchall() == [("rye",)]
        copy.close()
        live.close()


SLEEP = shutil.which("sleep")


def is_running(pid: int) -> bool:
    """Return whether a process exists and is not a zombie."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


class TestUpdate:
    """deploy/update.sh with a real repository, and with fake programs that write down their calls."""

    UNITS = ("countonme.service", "countonme.socket", "countonme-backup.timer")
    ALL_STEPS = (
        "systemctl start countonme-backup.service",
        "make .venv/run",
        "manage.py check --deploy",
        "--check-config countonme.wsgi",
        "manage.py migrate",
        "systemctl daemon-reload",
        "systemctl restart countonme.service",
        "curl http://127.0.0.1:8000/readyz",
        "manage.py recount",
    )

    @pytest.fixture
    def units(self, tmp_path):
        folder = tmp_path / "system"
        folder.mkdir()
        return folder

    @pytest.fixture
    def origin(self, tmp_path):
        """The working copy of a developer, with one commit."""
        self.git(tmp_path, "init", "--quiet", "--initial-branch=main", "origin")
        origin = tmp_path / "origin"
        for file in (*(f"deploy/systemd/{name}" for name in self.UNITS), "deploy/nginx.conf"):
            (origin / file).parent.mkdir(parents=True, exist_ok=True)
            (origin / file).write_text("1\n")
        shutil.copy(DEPLOY / "update.sh", origin / "deploy/update.sh")
        self.commit(origin)
        return origin

    @pytest.fixture
    def installed(self, origin, units, tmp_path):
        """The checkout on the service's machine, whose units are installed."""
        self.git(tmp_path, "clone", "--quiet", "origin", "installed")
        for name in self.UNITS:
            shutil.copy(origin / "deploy/systemd" / name, units)
        return tmp_path / "installed"

    @pytest.fixture
    def update(self, installed, commands, units, tmp_path):
        write = f'echo "${{0##*/}} $*" >> {tmp_path}/calls'
        fakes = dict.fromkeys(("systemctl", "make"), write)
        fakes["sudo"] = f'shift 3; echo "$*" >> {tmp_path}/calls'
        fakes["curl"] = f'for url; do :; done; echo "curl $url" >> {tmp_path}/calls'
        path = commands("cmp", "dirname", "flock", "git", "install", "rm", "sort", **fakes, id="echo 0")

        def update(*arguments: str, **fakes: str) -> subprocess.CompletedProcess:
            for name, script in fakes.items():
                (tmp_path / "bin" / name).unlink()
                commands(**{name: script})
            return subprocess.run(
                [installed / "deploy/update.sh", *arguments],
                env={"PATH": path, "UNITS": str(units), "HOME": str(tmp_path)},
                cwd="/",
                capture_output=True,
                text=True,
            )

        return update

    @pytest.fixture
    def calls(self, tmp_path):
        def calls() -> list[str]:
            written = (tmp_path / "calls").read_text().splitlines()
            (tmp_path / "calls").unlink()
            return written

        return calls

    def git(self, folder: Path, *arguments: str) -> str:
        names = ("AUTHOR", "COMMITTER")
        identity = {f"GIT_{name}_{key}": "a@example.org" for name in names for key in ("NAME", "EMAIL")}
        run = subprocess.run(
            ["git", *arguments], cwd=folder, env=os.environ | identity, capture_output=True, check=True
        )
        return run.stdout.decode().strip()

    def commit(self, folder: Path) -> str:
        self.git(folder, "add", "--all")
        self.git(folder, "commit", "--quiet", "--message=Change")
        return self.git(folder, "rev-parse", "HEAD")

    def test_backs_up_migrates_and_restarts(self, update, calls, origin, installed):
        (origin / "requirements.txt").touch()
        new = self.commit(origin)

        done = update()

        assert (done.returncode, done.stderr) == (0, "")
        assert calls() == list(self.ALL_STEPS)
        assert self.git(installed, "rev-parse", "HEAD") == new

    def test_installs_changed_and_new_units_and_removes_old_ones(self, update, calls, origin, units):
        (units / "countonme-of-the-operator.timer").touch()
        (origin / "deploy/systemd/countonme.socket").write_text("2\n")
        (origin / "deploy/systemd/countonme-backup.timer").unlink()
        (origin / "deploy/systemd/countonme-new.timer").touch()
        self.commit(origin)

        done = update()

        assert (done.returncode, done.stderr) == (0, "")
        assert calls()[5:-2] == [
            "systemctl disable --now countonme-backup.timer",
            "systemctl daemon-reload",
            "systemctl enable --now countonme-new.timer",
            "systemctl restart countonme.socket countonme.service",
        ]
        assert {unit.name for unit in units.iterdir()} == {
            *("countonme.service", "countonme.socket", "countonme-new.timer", "countonme-of-the-operator.timer")
        }
        assert (units / "countonme.socket").read_text() == "2\n"

    def test_goes_back_without_a_migration(self, update, calls, origin, installed, units):
        old = self.git(installed, "rev-parse", "HEAD")
        (origin / "deploy/systemd/countonme.service").write_text("2\n")
        (origin / "deploy/systemd/countonme-new.timer").touch()
        self.commit(origin)
        assert update().returncode == 0
        calls()

        done = update("before-update")

        assert self.git(installed, "rev-parse", "HEAD") == old, done.stderr
        assert (units / "countonme.service").read_text() == "1\n"
        assert not (units / "countonme-new.timer").exists()
        assert calls() == [
            "make .venv/run",
            "manage.py check --deploy",
            "--check-config countonme.wsgi",
            "systemctl disable --now countonme-new.timer",
            *self.ALL_STEPS[5:],
        ]

    def test_can_be_repeated_after_it_has_stopped(self, update, calls, origin, installed):
        old = self.git(installed, "rev-parse", "HEAD")
        (origin / "requirements.txt").touch()
        self.commit(origin)

        stopped = update(make="exit 2")
        assert stopped.returncode == 2
        assert re.search(r"stopped at: Install \w+ of \S+\. Fix the cause .* before-update$", stopped.stderr)
        assert calls() == ["systemctl start countonme-backup.service"]
        done = update(make="true")

        assert (done.returncode, done.stderr) == (0, "")
        assert calls() == list(self.ALL_STEPS[2:])
        assert self.git(installed, "rev-parse", "before-update") == old

    def test_changes_nothing_if_the_backup_fails(self, update, origin, installed):
        old = self.git(installed, "rev-parse", "HEAD")
        (origin / "requirements.txt").touch()
        self.commit(origin)

        assert update(systemctl="exit 1").returncode == 1

        assert self.git(installed, "rev-parse", "HEAD") == old

    def test_names_changed_files_that_it_does_not_install(self, update, origin):
        (origin / "deploy/nginx.conf").write_text("2\n")
        self.commit(origin)

        assert "deploy/nginx.conf has changed." in update().stdout

    def test_rejects_an_unknown_commit(self, update, calls):
        done = update("v9")

        assert done.returncode == 1
        assert "There is no commit v9.\n" in done.stderr

    def test_runs_once_at_a_time(self, update, installed):
        lock = os.open(installed / "deploy", os.O_RDONLY)
        fcntl.flock(lock, fcntl.LOCK_EX)

        done = update()

        os.close(lock)
        assert (done.returncode, done.stderr) == (1, "Another update is running.\n")

    def test_needs_root(self, update):
        done = update(id="echo 1000")

        assert (done.returncode, done.stderr) == (1, "Run this as root: sudo deploy/update.sh \n")


class TestNightly:
    """deploy/nightly.sh with a fake clock that doesn't move, and a fake `sleep` whose first call ends immediately."""

    @pytest.fixture
    def started(self, tmp_path):
        """Return a function that starts the script at a time of day, and waits for a number of output lines."""
        processes = []

        def start(now: str, *arguments: str, lines: int) -> tuple[subprocess.Popen, list[str]]:
            hours, minutes, seconds = map(int, now.split(":"))
            epoch = 20_000 * 86_400 + hours * 3600 + minutes * 60 + seconds
            folder = tmp_path / "bin"
            folder.mkdir()
            for name, script in {
                "date": f"case $* in +%s) echo {epoch} ;; *) echo now ;; esac",
                "sleep": f"echo $1 >> {tmp_path}/slept; [ $(wc -l < {tmp_path}/slept) = 1 ] || exec {SLEEP} 1000",
            }.items():
                (folder / name).write_text(f"#!/bin/sh\n{script}\n")
                (folder / name).chmod(0o755)
            process = subprocess.Popen(
                ["/bin/sh", DEPLOY / "nightly.sh", *arguments],
                env={"PATH": f"{folder}:{os.environ['PATH']}"},
                cwd=tmp_path,
                stdout=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
            processes.append(process)
            return process, [process.stdout.readline().strip() for _ in range(lines)]

        yield start
        for process in processes:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate(timeout=10)

    def test_runs_its_commands_in_order_and_continues_after_a_failure(self, started, tmp_path):
        _, lines = started("01:00:00", "02:00", "touch first", "sh -c 'exit 3'", "touch 'third one'", lines=8)

        assert lines == [
            "now waits until 02:00 UTC",
            "now runs: touch first",
            "now has run: touch first",
            "now runs: sh -c 'exit 3'",
            "now failed with status 3: sh -c 'exit 3'",
            "now runs: touch 'third one'",
            "now has run: touch 'third one'",
            "now waits until 02:00 UTC",
        ]
        assert (tmp_path / "first").exists()
        assert (tmp_path / "third one").exists()

    @pytest.mark.parametrize(
        ("now", "time", "seconds"),
        [
            ("01:59:30", "02:00", 30),
            ("02:00:00", "02:00", 86_400),  # a short command has just run
            ("02:00:01", "02:00", 86_399),
            ("23:59:59", "00:00", 1),
            ("00:00:00", "08:09", 8 * 3600 + 9 * 60),
            ("08:10:00", "08:09", 86_400 - 60),
        ],
    )
    def test_waits_until_the_given_time(self, started, tmp_path, now, time, seconds):
        started(now, time, "true", lines=2)

        assert (tmp_path / "slept").read_text().split()[0] == str(seconds)

    def test_also_runs_its_commands_at_the_start_with_the_option_now(self, started):
        _, lines = started("01:00:00", "--now", "02:00", "true", lines=6)

        assert lines == [
            "now runs: true",
            "now has run: true",
            "now waits until 02:00 UTC",
            "now runs: true",
            "now has run: true",
            "now waits until 02:00 UTC",
        ]

    def test_exits_after_the_last_command_if_one_fails_at_the_start(self, started, tmp_path):
        process, lines = started("01:00:00", "--now", "02:00", "false", "true", lines=4)

        assert process.wait(10) == 1
        assert lines == [
            "now runs: false",
            "now failed with status 1: false",
            "now runs: true",
            "now has run: true",
        ]
        assert not (tmp_path / "slept").exists()

    @pytest.mark.parametrize(
        "arguments",
        [
            *([], ["02:00"], ["2:00", "true"], ["24:00", "true"], ["02:60", "true"]),
            *(["--now"], ["--now", "02:00"], ["--no", "02:00", "true"]),
        ],
    )
    def test_rejects_invalid_arguments(self, arguments):
        done = run(DEPLOY / "nightly.sh", *arguments, PATH=os.environ["PATH"])

        assert done.returncode == 2
        assert "HH:MM COMMAND..." in done.stderr

    def test_stops_immediately_while_it_waits(self, started, tmp_path):
        process, _ = started("01:00:00", "02:00", "true", lines=4)
        wait_until(lambda: len((tmp_path / "slept").read_text().split()) == 2, "it does not wait")
        began = time.monotonic()

        process.send_signal(signal.SIGTERM)

        assert process.wait(10) == 143
        assert time.monotonic() - began < 1

    def test_stops_immediately_with_its_running_command(self, started, tmp_path):
        process, _ = started("01:00:00", "02:00", f"sh -c 'echo $$ > pid; exec {SLEEP} 1000'", "touch second", lines=2)
        wait_until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text(), "the command does not start")
        began = time.monotonic()

        process.send_signal(signal.SIGTERM)

        assert process.wait(10) == 143
        assert time.monotonic() - began < 1
        wait_until(lambda: not is_running(int((tmp_path / "pid").read_text())), "the command is still running", 5)
        assert not (tmp_path / "second").exists()


class TestMakeRun:
    """`make run`, with a fake Python."""

    @pytest.mark.parametrize("imported", [0, 1])
    def test_serves_also_if_the_import_of_foods_fails(self, tmp_path, commands, imported):
        fake = f'echo "$*" >> {tmp_path}/calls; [ "$2" != import_usda ] || exit {imported}'
        programs = commands("sh", "printf", python=fake, gunicorn=f'echo "$*" >> {tmp_path}/calls')
        for file in ("requirements.txt", ".venv/bin/pip", ".venv/run"):
            (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / file).touch()

        make = run(
            *(shutil.which("make"), f"--file={ROOT / 'Makefile'}", f"--directory={tmp_path}", "run", f"BIN={programs}"),
            PATH=os.environ["PATH"],
            SECRET_KEY="x",
        )

        assert make.returncode == 0, make.stderr
        assert (tmp_path / "calls").read_text().splitlines() == [
            "manage.py migrate --noinput",
            "manage.py import_usda --once",
            "countonme.wsgi",
        ]


COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
DOCKER_DEFAULTS = dict(re.findall(r"^(\w+)=(.*)", (DEPLOY / "docker/defaults.env").read_text(), re.M))


class TestCompose:
    @pytest.mark.parametrize("service", ["api", "catalog", "cleanup", "migrate", "backup"])
    def test_passes_every_setting(self, service):
        service = COMPOSE["services"][service]
        fixed = {"BACKUPS", "ERASURE_LEDGER", "HOST", "PORT"}

        assert service["env_file"] == ["deploy/docker/defaults.env", "docker.env"]
        assert set(service["environment"]) <= fixed
        assert not fixed & set(DOCKER_DEFAULTS)

    def test_reads_no_setting_that_make_writes_to_the_env_file(self, tmp_path):
        make = run("make", f"--file={ROOT / 'Makefile'}", f"--directory={tmp_path}", "key", PATH=os.environ["PATH"])
        written = set(re.findall(r"^(\w+)=", (tmp_path / ".env").read_text(), re.M))

        assert make.returncode == 0, make.stderr
        assert {"HTTPS_ONLY", "ALLOWED_HOSTS"} <= written
        assert not written & set(re.findall(r"\$\{?(\w+)", (ROOT / "docker-compose.yml").read_text()))

    def test_gives_every_service_the_secrets_that_its_settings_name(self):
        files = {value for value in DOCKER_DEFAULTS.values() if value.startswith("/run/secrets/")}

        assert files == {f"/run/secrets/{name}" for name in COMPOSE["secrets"]}
        for name in ("api", "catalog", "cleanup", "migrate"):
            assert set(COMPOSE["services"][name]["secrets"]) == set(COMPOSE["secrets"])
        assert COMPOSE["services"]["backup"]["secrets"] == ["database_password"]
        password = COMPOSE["services"]["database"]["environment"]["POSTGRES_PASSWORD_FILE"]
        assert password == DOCKER_DEFAULTS["DATABASE_PASSWORD_FILE"]

    @pytest.mark.parametrize("service", COMPOSE["services"])
    def test_confines_every_service(self, service):
        service = COMPOSE["services"][service]

        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert service["pids_limit"] > 0
        assert service["mem_limit"]
        assert "privileged" not in service
        assert service.get("user") or re.search(r"^USER \d+$", (ROOT / "Dockerfile").read_text(), re.M)

    def test_does_not_count_postgresql_as_healthy_before_it_listens_for_others(self):
        assert "--host=127.0.0.1" in COMPOSE["services"]["database"]["healthcheck"]["test"]

    def test_runs_jobs_every_night(self):
        services = COMPOSE["services"]

        script, option, time, *commands = services["cleanup"]["command"]
        assert (script, option, time) == ("deploy/nightly.sh", "--now", "02:00")
        assert commands == [
            "python manage.py erase",
            "python manage.py clearsessions",
            "python manage.py purge_tombstones --older-than 180d --commit",
        ]
        assert services["backup"]["command"] == ["/deploy/nightly.sh", "03:00", "/deploy/backup.sh"]
        for name in ("cleanup", "backup"):
            assert services[name]["restart"] == "unless-stopped"
            assert services[name]["healthcheck"] == {"disable": True}
            assert services[name]["depends_on"] == {"migrate": {"condition": "service_completed_successfully"}}

    def test_imports_foods_once_and_does_not_wait_for_them(self):
        services = COMPOSE["services"]

        assert services["catalog"]["command"] == ["python", "manage.py", "import_usda", "--once"]
        assert services["catalog"]["restart"] == "no"
        for name in ("catalog", "api"):
            assert services[name]["depends_on"] == {"migrate": {"condition": "service_completed_successfully"}}

    @pytest.mark.parametrize("service", ["api", "cleanup", "migrate"])
    def test_keeps_the_ledger_in_a_volume(self, service):
        folder = "/var/lib/countonme"
        image = re.search(r"ERASURE_LEDGER=(\S+)", (ROOT / "Dockerfile").read_text())[1]

        assert image == f"{folder}/erasures.txt"
        assert COMPOSE["services"][service]["environment"].get("ERASURE_LEDGER", image) == image
        assert COMPOSE["services"]["backup"]["environment"]["ERASURE_LEDGER"] == image
        assert f"ledger:{folder}" in COMPOSE["services"][service]["volumes"]
        assert f"ledger:{folder}:ro" in COMPOSE["services"]["backup"]["volumes"]
        assert "ledger" in COMPOSE["volumes"]

    def test_reads_the_ledger_as_the_user_that_writes_it(self):
        dockerfile = (ROOT / "Dockerfile").read_text()

        user = re.search(r"^USER (\d+)$", dockerfile, re.M)[1]
        assert f"--uid {user} countonme" in dockerfile
        assert "--owner=countonme --mode=700 /var/lib/countonme" in dockerfile
        assert COMPOSE["services"]["backup"]["user"] == user
        assert f"--owner={user} --mode=700 /var/backups/countonme" in PAGE

    def test_puts_backups_outside_of_the_checkout(self):
        backup = COMPOSE["services"]["backup"]

        (bind,) = [volume for volume in backup["volumes"] if isinstance(volume, dict)]
        assert bind["source"] == "${BACKUPS:-/var/backups/countonme}"
        assert bind["target"] == backup["environment"]["BACKUPS"]
        assert backup["image"] == COMPOSE["services"]["database"]["image"]  # an older pg_dump refuses a newer server


PAGE = (ROOT / "docs/deployment.md").read_text()


class TestCopiesOnOtherMachines:
    (COMMANDS,) = re.findall(r"```sh\n(rsync .*?)```", PAGE, re.S)

    @pytest.mark.skipif(not shutil.which("rsync"), reason="needs rsync")
    def test_drop_old_backups_but_no_line_of_a_ledger(self, commands, tmp_path):
        there, ledger, here = tmp_path / "backups", tmp_path / "erasures.txt", tmp_path / "copies"
        for folder, names in (there, ["countonme-2.dump", "erasures.txt"]), (here, ["countonme-1.dump"]):
            folder.mkdir()
            for name in names:
                (folder / name).touch()
        ledger.write_text(f"{LINES[0]}\n{LINES[1]}\n")
        (here / "erasures.txt").write_text(f"{LINES[0]}\n{LINES[2]}\n")
        (here / "erasures-second.txt").write_text(f"{LINES[3]}\n")
        script = self.COMMANDS.replace("root@api.example.org:/var/backups/countonme", str(there))
        script = script.replace("/srv/countonme", str(here)).replace("/var/lib/countonme", str(tmp_path))
        path = commands("rsync", "touch", "sort", "cat", ssh='shift; exec "$@"')

        done = run("/bin/sh", "-ec", script, PATH=path)

        assert (done.returncode, done.stderr) == (0, "")
        assert {file.name for file in here.iterdir()} == {"countonme-2.dump", "erasures.txt", "erasures-second.txt"}
        assert (here / "erasures.txt").read_text().splitlines() == LINES[:3]
        assert (here / "erasures-second.txt").read_text() == f"{LINES[3]}\n"

    def test_are_used_by_the_check_of_a_backup(self):
        (check,) = re.findall(r"```sh\n(createdb .*?)```", PAGE, re.S)
        (folder,) = re.findall(r" (/\S+)/\n", self.COMMANDS)

        assert f"deploy/restore.sh {folder}/countonme-" in check


class TestRestoringWithDocker:
    (COMMANDS,) = re.findall(r"```sh\n(docker compose stop .*?)```", PAGE, re.S)

    def test_has_valid_shell_syntax(self):
        assert run("sh", "-n", "-c", self.COMMANDS).returncode == 0

    def test_reads_the_folder_of_the_backups(self):
        (bind,) = [volume for volume in COMPOSE["services"]["backup"]["volumes"] if isinstance(volume, dict)]

        assert f'--volume "{bind["source"]}:/backups:ro"' in self.COMMANDS

    @pytest.mark.parametrize("names", [[], ["erasures.txt"], ["erasures-second one.txt", "erasures.txt"]], ids=str)
    def test_passes_every_ledger_to_after_restore(self, commands, tmp_path, names):
        for name in [*names, "erasures.txt.part"]:
            (tmp_path / name).touch()
        (script,) = re.findall(r" api sh -c '(.*?)'", self.COMMANDS, re.S)
        path = commands(python='printf "%s," "$@"')

        done = run("/bin/sh", "-c", script.replace("/backups", str(tmp_path)), PATH=path)

        ledgers = [argument for name in names for argument in ("--ledger", f"{tmp_path / name}")]
        assert done.stdout.split(",")[:-1] == ["manage.py", "after_restore", *ledgers]


class TestTheImage:
    @staticmethod
    def ignores(path: str) -> bool:
        """Return whether .dockerignore excludes a path. The last pattern that matches it or a parent of it decides."""
        ignored = False
        paths = [path, *map(str, Path(path).parents)][:-1]
        for line in (ROOT / ".dockerignore").read_text().splitlines():
            if not line or line.startswith("#"):
                continue
            pattern = line.removeprefix("!")
            regex = re.escape(pattern).replace(r"\*\*/", "(.*/)?").replace(r"\*", "[^/]*")
            if any(re.fullmatch(regex, parent) for parent in paths):
                ignored = not line.startswith("!")
        return ignored

    def test_has_all_apps_and_the_files_they_need(self):
        ours = [name.partition(".")[0] for name in settings.INSTALLED_APPS if (ROOT / name.partition(".")[0]).is_dir()]
        files = [file.relative_to(ROOT) for app in ours for file in (ROOT / app).rglob("*") if file.is_file()]
        needed = {str(file) for file in files if not {"tests", "__pycache__"} & set(file.parts)}
        needed |= {"manage.py", "gunicorn.conf.py", "requirements.txt", COMPOSE["services"]["cleanup"]["command"][0]}

        assert {"countonme", "devices"} <= set(ours)
        assert len(needed) > 100
        assert {file for file in needed if self.ignores(file)} == set()

    def test_has_nothing_else(self):
        tracked = run("git", "ls-files", PATH=os.environ["PATH"]).stdout.splitlines()

        found = {file.partition("/")[0] for file in tracked if not self.ignores(file)}
        apps = {name.partition(".")[0] for name in settings.INSTALLED_APPS}
        assert {"countonme", "manage.py"} <= found
        assert found - apps == {"deploy", "manage.py", "gunicorn.conf.py", "requirements.txt"}
        assert [file for file in tracked if file.startswith("deploy/") and not self.ignores(file)] == [
            "deploy/nightly.sh"
        ]
        assert [file for file in tracked if "/tests/" in file and not self.ignores(file)] == []

    @pytest.mark.parametrize(
        "file",
        [
            *(".env", ".env.production", "db.sqlite3", "db.sqlite3-wal", "erasures.txt", "erasures.txt.part"),
            *("countonme.dump", "backups/countonme-20260105T030000Z.dump", "export.json", "deploy/erasures.txt"),
            *(".git/config", ".venv/bin/python", "devices/__pycache__/models.cpython-311.pyc", "devices/tests/x.py"),
        ],
    )
    def test_has_no_secrets_and_no_data(self, file):
        assert self.ignores(file)


ALTER_ROLE = re.findall(r"ALTER ROLE countonme SET \w+ = \w+", PAGE)
RUNBOOK = (ROOT / "docs/runbook.md").read_text()
COMMANDS = re.findall(r"```sh\n(.*?)```", PAGE + RUNBOOK, re.S)
UNITS = sorted((DEPLOY / "systemd").iterdir())
NGINX = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")


class TestThePages:
    def test_have_commands_with_valid_shell_syntax(self):
        assert len(COMMANDS) >= 30
        for block in COMMANDS:
            assert run("sh", "-n", "-c", block).returncode == 0, block

    def test_name_only_existing_files_commands_units_and_services(self):
        text = PAGE + RUNBOOK
        files = re.findall(r"\bdeploy/[\w./-]*[\w]", text)
        commands = re.findall(r"manage\.py (\w+)", text)
        units = re.findall(r"countonme(?:-\w+)?\.(?:service|socket|timer)", text)
        services = re.findall(r"docker compose (?:run|exec|up)(?: -[\w-]+(?: \".*?\")?)* (\w+)", text)

        assert len(files) >= 4
        assert [file for file in files if not list(ROOT.glob(f"{file}*"))] == []
        assert {"migrate", "createsuperuser", "check", "purge_tombstones"} <= set(commands) <= set(get_commands())
        assert set(units) <= {unit.name for unit in UNITS}
        assert {unit.name for unit in UNITS if unit.suffix != ".service"} <= set(units)
        assert {"api", "backup", "database"} <= set(services) <= set(COMPOSE["services"])

    def test_import_only_existing_names(self):
        """The imports are in the runbook's code for `manage.py shell`."""
        imported = re.findall(r"from ([\w.]+) import (\w+)", RUNBOOK)

        assert len(imported) >= 2
        assert [name for module, name in imported if not hasattr(import_module(module), name)] == []

    def test_quote_messages_of_the_code(self):
        """The runbook quotes lines of the log and error messages of responses."""
        quoted = set(re.findall(r"^- `(.+?)`(?:,| or|:)", RUNBOOK, re.M)) | set(re.findall(r" or `(.+?)`:", RUNBOOK))
        texts = [file.read_text() for app in our_apps() for file in sources(app)]
        texts += [file.read_text() for file in DEPLOY.glob("*.sh")]

        assert len(quoted) >= 8
        assert [text for text in quoted if not any(text.strip("… ") in source for source in texts)] == []

    def test_write_safe_settings(self, tmp_path):
        lines = self.settings_of("sudo tee /opt/countonme/.env > /dev/null")

        assert set(lines) == {
            "SECRET_KEY",
            "METRICS_TOKEN",
            "ALLOWED_HOSTS",
            "DATABASE_URL",
            "NUM_PROXIES",
            "ERASURE_LEDGER",
        }
        assert f"--mode 700 {Path(lines['ERASURE_LEDGER']).parent}\n" in PAGE
        lines["ERASURE_LEDGER"] = str(tmp_path / "erasures.txt")
        self.check_deployment(lines)

    @pytest.mark.usefixtures("usual_umask")
    def test_write_safe_settings_with_docker(self, tmp_path):
        (block,) = [block for block in COMMANDS if "> docker.env\n" in block]
        writing, _, _ = block.partition("install --directory --owner=10001")

        made = subprocess.run(
            ["sh", "-ec", writing], cwd=tmp_path, env={**os.environ, "NAME": "api.example.org"}, capture_output=True
        )

        assert (made.returncode, made.stderr) == (0, b"")
        assert stat.S_IMODE((tmp_path / "secrets").stat().st_mode) == 0o700
        assert modes(tmp_path / "secrets") == dict.fromkeys(COMPOSE["secrets"], 0o644)
        lines = DOCKER_DEFAULTS | dict(
            line.split("=", 1) for line in (tmp_path / "docker.env").read_text().splitlines()
        )
        lines = {name: value.replace("/run/secrets", f"{tmp_path}/secrets") for name, value in lines.items()}
        # The tests' own environment may have a key.
        self.check_deployment({**lines, "SECRET_KEY": "", "ERASURE_LEDGER": str(tmp_path / "erasures.txt")})

    def settings_of(self, target: str) -> dict[str, str]:
        """Return the settings that the commands of the page write to a file."""
        (block,) = [block for block in COMMANDS if f"{target} <<EOF" in block]
        heredoc = re.search(rf"{re.escape(target)}( <<EOF.*?\nEOF\n)", block, re.S)[1]
        made = subprocess.run(
            ["sh", "-c", f"cat {heredoc}"], env={**os.environ, "NAME": "api.example.org"}, capture_output=True
        )
        return dict(line.split("=", 1) for line in made.stdout.decode().splitlines())

    def check_deployment(self, lines: dict[str, str]) -> None:
        defaults = {"HTTPS_ONLY": "on", "DEBUG": "off", "REGISTER_RATE": "10/min", "BCRYPT_ROUNDS": "4"}
        check = subprocess.run(
            [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"],
            cwd=ROOT,
            env={**os.environ, **defaults, **lines},
            capture_output=True,
            text=True,
        )
        assert check.returncode == 0, check.stderr

    def test_write_settings_that_only_the_service_can_read(self):
        assert "--owner root --group countonme --mode 640 /dev/null /opt/countonme/.env" in PAGE


@pytest.mark.skipif(not shutil.which("initdb", path=":".join(PLACES)), reason="needs PostgreSQL's programs")
class TestTheLogOfPostgreSQL:
    DEVICE, BARCODE = str(uuid4()), "4006040055556"

    def log_of_a_duplicate(self, statements: Sequence[str] = (), **settings: str) -> str:
        """Insert a duplicate row on a new server with these settings. Return the server's log."""
        with folder_of_owner() as folder:
            with postgres(folder / "data", **settings) as server:
                server.run("CREATE ROLE countonme LOGIN")
                server.run("CREATE DATABASE countonme OWNER countonme")
                for statement in statements:
                    server.run(statement)
                url = server.url("countonme", user="countonme")
                with psycopg.connect(url, autocommit=True, cursor_factory=psycopg.ClientCursor) as connection:
                    connection.execute("CREATE TABLE products (device_id uuid, barcode text UNIQUE)")
                    insert = "INSERT INTO products VALUES (%s, %s)"
                    connection.execute(insert, [self.DEVICE, self.BARCODE])
                    with pytest.raises(psycopg.errors.UniqueViolation):
                        connection.execute(insert, [self.DEVICE, self.BARCODE])
            return (folder / "data.log").read_text()

    def test_has_values_by_default(self):
        log = self.log_of_a_duplicate()

        assert f"DETAIL:  Key (barcode)=({self.BARCODE}) already exists." in log
        assert re.search(f"STATEMENT: .*{self.DEVICE}", log)

    def test_has_no_values_on_a_bare_host(self):
        log = self.log_of_a_duplicate(ALTER_ROLE)

        assert "duplicate key value violates unique constraint" in log
        assert self.BARCODE not in log
        assert self.DEVICE not in log

    def test_has_no_values_with_docker(self):
        program, *options = COMPOSE["services"]["database"]["command"]
        assert program == "postgres"
        assert set(options[::2]) == {"-c"}

        log = self.log_of_a_duplicate(**dict(option.split("=") for option in options[1::2]))

        assert "duplicate key value violates unique constraint" in log
        assert self.BARCODE not in log
        assert self.DEVICE not in log


@pytest.mark.skipif(not shutil.which("initdb", path=":".join(PLACES)), reason="needs PostgreSQL's programs")
class TestTheDatabaseOfDocker:
    def test_has_a_role_that_only_owns_its_database(self):
        with folder_of_owner() as folder, postgres(folder / "data") as server:
            server.run("ALTER ROLE postgres PASSWORD 'secret'")

            done = run(
                DEPLOY / "docker/create_role.sh",
                PATH=":".join(PLACES),
                PGHOST=str(folder),
                PGPORT=str(server.port),
                POSTGRES_PASSWORD="a/b+c@d%e#f:g'h\\",
            )

            assert (done.returncode, done.stderr) == (0, "")
            assert server.run("""
                SELECT rolname, rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls,
                    left(rolpassword, 5)
                FROM pg_authid WHERE rolcanlogin ORDER BY rolname""") == [
                ("countonme", False, "SCRAM"),
                ("postgres", True, None),
            ]
            assert server.run("""
                SELECT datdba::regrole::text, pg_encoding_to_char(encoding)
                FROM pg_database WHERE datname = 'countonme'""") == [("countonme", "UTF8")]


class TestTheUnits:
    @pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd")
    def test_are_valid(self, tmp_path):
        for unit in UNITS:
            here = unit.read_text().replace("/opt/countonme/.venv/bin/gunicorn", shutil.which("true"))
            here = here.replace("/opt/countonme/.venv/bin/python", shutil.which("true"))
            (tmp_path / unit.name).write_text(here.replace("/opt/countonme", str(ROOT)))

        verified = run("systemd-analyze", "verify", *sorted(tmp_path.iterdir()), PATH=os.environ["PATH"])

        about_ours = [line for line in verified.stderr.splitlines() if "countonme" in line]
        assert (verified.returncode, about_ours) == (0, []), verified.stderr

    def test_start_the_programs_in_the_folder_of_the_page(self):
        started = re.findall(r"^Exec\w+=(.+)", "".join(unit.read_text() for unit in UNITS), re.M)

        python = "/opt/countonme/.venv/bin/python manage.py"
        assert started == [
            "/opt/countonme/deploy/backup.sh",
            f"{python} erase",
            f"{python} clearsessions",
            f"{python} purge_tombstones --older-than 180d --commit",
            "/opt/countonme/.venv/bin/gunicorn countonme.wsgi",
        ]
        assert os.access(DEPLOY / "backup.sh", os.X_OK)

    def test_clear_sessions_also_if_erase_fails(self):
        unit = (DEPLOY / "systemd/countonme-erase.service").read_text()

        # A second ExecStart would not run after a failure, and with "-" before the first the unit would never fail.
        assert re.findall(r"^(Exec\w+)=", unit, re.M) == ["ExecStart", "ExecStopPost"]

    def test_erase_before_the_backup(self):
        erase, backup = (
            re.search(r"^OnCalendar=\*-\*-\* (\d\d:\d\d):00 UTC$", (DEPLOY / f"systemd/{name}").read_text(), re.M)[1]
            for name in ("countonme-erase.timer", "countonme-backup.timer")
        )

        assert erase < backup
        backup = (DEPLOY / "systemd/countonme-backup.service").read_text()
        assert re.search(r"^After=.*countonme-erase\.service", backup, re.M)

    @pytest.mark.parametrize("name", ["countonme.service", "countonme-erase.service"])
    def test_give_only_the_service_access_to_the_ledger(self, name):
        unit = (DEPLOY / "systemd" / name).read_text()

        assert "\nERASURE_LEDGER=/var/lib/countonme/erasures.txt\n" in PAGE
        assert "\nStateDirectory=countonme\nStateDirectoryMode=0700\n" in unit  # /var/lib/countonme
        assert "\nUMask=0077\n" in unit

    @pytest.mark.parametrize("name", ["countonme-backup", "countonme-erase", "countonme-purge"])
    def test_confine_the_jobs_as_the_service(self, name):
        service, job = ((DEPLOY / f"systemd/{unit}.service").read_text() for unit in ("countonme", name))
        confinement = service[service.index("NoNewPrivileges=") : service.index("\n[Install]")].strip()

        assert len(confinement.splitlines()) > 10
        assert f"\n{confinement}\n" in job

    def test_keep_backups_for_a_whole_number_of_days(self):
        timer = (DEPLOY / "systemd/countonme-backup.timer").read_text()
        service = (DEPLOY / "systemd/countonme-backup.service").read_text()

        assert re.search(r"^OnCalendar=.* UTC$", timer, re.M)  # no night of 23 or 25 hours
        assert "RandomizedDelaySec" not in timer
        assert "\nEnvironmentFile=/opt/countonme/.env\n" in service  # BACKUP_RETENTION and ERASURE_LEDGER
        assert re.findall(r"^Environment=(.*)", service, re.M) == ["BACKUPS=/var/backups/countonme"]

    def test_give_the_service_enough_time_to_stop(self):
        (unit,) = [unit.read_text() for unit in UNITS if unit.name == "countonme.service"]

        graceful = int(re.search(r"^graceful_timeout = (\d+)", (ROOT / "gunicorn.conf.py").read_text(), re.M)[1])
        assert int(re.search(r"^TimeoutStopSec=(\d+)", unit, re.M)[1]) > graceful


@pytest.mark.skipif(not NGINX, reason="needs nginx")
class TestNginx:
    @pytest.fixture
    def certificate(self, tmp_path):
        arguments = "req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=api.example.org -keyout key -out cert"
        subprocess.run(["openssl", *arguments.split()], cwd=tmp_path, check=True, capture_output=True)
        return f"ssl_certificate {tmp_path}/cert; ssl_certificate_key {tmp_path}/key;"

    def write_configuration(
        self, folder: Path, *, upstream: str, listen: str, redirects: str = "", more: str = ""
    ) -> Path:
        """Write a configuration that includes deploy/nginx.conf, as certbot changes it."""
        ours = (DEPLOY / "nginx.conf").read_text()
        ours = ours.replace("127.0.0.1:8000", upstream).replace("listen 80;", listen).replace("listen [::]:80;", "")
        ours = ours.replace("/var/log/nginx", str(folder))
        ours = re.sub(r"syslog:server=unix:/dev/log\S+", f"{folder}/countonme.log", ours)
        temporary = "".join(
            f"{name}_temp_path {folder}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        file = folder / "nginx.conf"
        user = "user root;" if os.geteuid() == 0 else ""
        main = f"daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/start.log; events {{}}"
        access_log = f"access_log {folder}/access.log;"  # as Debian's nginx.conf has it
        # certbot adds a server for the redirect, which has only `listen` and `server_name` of deploy/nginx.conf.
        redirect = f"server {{ {redirects} server_name api.example.org; return 301 https://$host$request_uri; }}"
        file.write_text(
            f"{user} {main}\nhttp {{ {access_log} {temporary}\n{ours}\n{redirect if redirects else ''}\n{more} }}\n"
        )
        return file

    def test_accepts_the_file(self, tmp_path):
        file = self.write_configuration(tmp_path, upstream="127.0.0.1:8000", listen="listen 127.0.0.1:18080;")

        tested = run(NGINX, "-t", "-c", file)

        assert tested.returncode == 0, tested.stderr
        assert "[warn]" not in tested.stderr

    def test_ends_tls_in_front_of_the_service(self, live_url, tmp_path, certificate):
        port, plain = free_port(), free_port()
        trusting = ssl.create_default_context(cafile=tmp_path / "cert")
        trusting.check_hostname = False  # the URL has the IP address

        def call(path: str, body: bytes | None = None) -> tuple[int, str]:
            request = Request(f"https://127.0.0.1:{port}{path}", body, {"Host": "api.example.org"})
            try:
                with urlopen(request, context=trusting, timeout=10) as response:
                    return response.status, response.read().decode()
            except HTTPError as error:
                return error.code, error.read().decode()

        def redirect(path: str) -> tuple[int, str]:
            with closing(HTTPConnection("127.0.0.1", plain, timeout=10)) as client:
                client.request("POST", path, b"x" * 1_000_000, {"Host": "api.example.org"})
                response = client.getresponse()
                return response.status, response.headers["Location"]

        safe = {"HTTPS_ONLY": "on", "ALLOWED_HOSTS": "api.example.org", "NUM_PROXIES": "1", "METRICS_TOKEN": "x" * 20}
        with serve(live_url, tmp_path / "log", **safe) as service:
            listen = f"listen 127.0.0.1:{plain}; listen 127.0.0.1:{port} ssl; {certificate}"
            file = self.write_configuration(tmp_path, upstream=f"127.0.0.1:{service.server.port}", listen=listen)
            nginx = subprocess.Popen([NGINX, "-c", str(file)], cwd=tmp_path, stderr=subprocess.DEVNULL)
            try:
                wait_until(lambda: call("/healthz")[0] == 200, "nginx does not respond")

                assert call("/v1/products?search=dumplings")[0] == 401  # not redirected: it is HTTPS already
                assert redirect("/v1/sync?last_pulled_at=1") == (
                    308,
                    "https://api.example.org/v1/sync?last_pulled_at=1",
                )
                assert call("/metrics")[0] == 404
                assert call("/v1/sync", b"x" * (21 * 1024 * 1024)) == (
                    413,
                    '{"detail": "The body is larger than 20971520 bytes."}',
                )
                assert call("/v1/products?search=" + "%F0%9F%8D%9E" * 600)[0] == 401  # a long URL
            finally:
                nginx.terminate()
                nginx.wait(10)
            assert service.phone.get("/metrics").status_code == 401
        written = "".join(file.read_text() for file in tmp_path.glob("*.log"))
        assert "dumplings" not in written + service.server.log.read_text()

    def test_responds_to_its_own_errors_in_json(self, tmp_path):
        port = free_port()
        file = self.write_configuration(tmp_path, upstream="127.0.0.1:1", listen=f"listen 127.0.0.1:{port};")

        def call(method: str, path: str = "/v1/products", **headers) -> tuple[int, dict, str | None]:
            with closing(HTTPConnection("127.0.0.1", port, timeout=10)) as client:
                client.request(method, path, headers={"Host": "api.example.org"} | headers)
                response = client.getresponse()
                assert response.headers["Content-Type"] == "application/json"
                return response.status, json.load(response), response.headers["Retry-After"]

        nginx = subprocess.Popen([NGINX, "-c", str(file)], cwd=tmp_path, stderr=subprocess.DEVNULL)
        try:
            wait_until(lambda: call("GET")[0] == 502, "nginx does not respond")

            assert call("GET") == (502, {"detail": "Service unavailable"}, "5")
            assert call("get") == (400, {"detail": "Bad request"}, None)
            assert call("GET", X="x" * 20_000) == (400, {"detail": "Bad request"}, None)
            assert call("TRACE") == (405, {"detail": "Method not allowed"}, None)
            assert call("GET", "/" + "x" * 20_000) == (414, {"detail": "Bad request"}, None)
            assert call("POST", **{"Content-Length": "30000000"}) == (413, {"detail": "The body is too large"}, None)
            assert call("GET", "/metrics") == (404, {"detail": "Not found"}, None)
        finally:
            nginx.terminate()
            nginx.wait(10)

    def test_logs_nothing_about_a_client(self, tmp_path):
        port, plain = free_port(), free_port()
        file = self.write_configuration(
            tmp_path, upstream="127.0.0.1:1", listen=f"listen 127.0.0.1:{port};", redirects=f"listen 127.0.0.1:{plain};"
        )

        def status(port: int, body: bytes | None = None) -> int:
            client = HTTPConnection("127.0.0.1", port, timeout=10)
            client.request("POST" if body else "GET", "/v1/sync?search=dumplings", body, {"Host": "api.example.org"})
            with closing(client):
                return client.getresponse().status

        nginx = subprocess.Popen([NGINX, "-c", str(file)], cwd=tmp_path, stderr=subprocess.DEVNULL)
        try:
            wait_until(lambda: status(plain) == 301, "nginx does not respond")
            assert status(port) == 502  # the level of its message is "error"
            shutil.rmtree(tmp_path / "client_body")
            assert status(port, b"x" * 1_000_000) == 500  # "crit": the body can't be written
            log = tmp_path / "countonme.log"
            wait_until(lambda: len(log.read_text().splitlines()) >= 2, "nginx does not log the errors")
        finally:
            nginx.terminate()
            nginx.wait(10)

        assert (tmp_path / "access.log").read_text() == (tmp_path / "error.log").read_text() == ""
        assert "dumplings" not in (tmp_path / "start.log").read_text()
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        assert [(line["status"], line["upstream_status"]) for line in lines] == [(502, "502"), (500, "")]
        assert {key for line in lines for key in line} == {"time", "status", "upstream_status", "seconds"}

    @pytest.fixture
    def nginx(self, tmp_path):
        """Return a function that starts nginx and returns its port. The server behind it returns the Host header."""

        class Echo(BaseHTTPRequestHandler):
            def do_POST(self):
                self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(200)
                self.end_headers()
                self.wfile.write(self.headers["Host"].encode())

            def log_message(self, *args):
                pass

        echo = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
        Thread(target=echo.serve_forever, daemon=True).start()
        started = []

        def start(*changes: tuple[str, str], more: str = "") -> int:
            port = free_port()
            file = self.write_configuration(
                tmp_path, upstream=f"127.0.0.1:{echo.server_port}", listen=f"listen 127.0.0.1:{port};", more=more
            )
            for old, new in changes:
                assert old in file.read_text()
                file.write_text(file.read_text().replace(old, new))
            started.append(subprocess.Popen([NGINX, "-c", str(file)], cwd=tmp_path, stderr=subprocess.DEVNULL))
            wait_until(lambda: create_connection(("127.0.0.1", port)).close() is None, "nginx does not listen")
            return port

        yield start
        for process in started:
            process.terminate()
            process.wait(10)
        echo.shutdown()
        echo.server_close()

    def post(
        self, port: int, path: str, body: bytes = b"", host: str = "api.example.org"
    ) -> tuple[int, str, str | None]:
        with closing(HTTPConnection("127.0.0.1", port, timeout=10)) as client:
            client.request("POST", path, body, {"Host": host})
            response = client.getresponse()
            return response.status, response.read().decode(), response.headers["Retry-After"]

    def test_passes_the_port_on(self, nginx):
        port = nginx()

        assert self.post(port, "/v1/products", host="api.example.org:8443") == (200, "api.example.org:8443", None)

    def test_accepts_large_bodies_for_sync_only(self, nginx):
        port, body = nginx(), b"x" * (3 * 1024 * 1024)

        assert self.post(port, "/v1/sync", body)[0] == 200
        assert self.post(port, "/v1/products", body) == (413, '{"detail": "The body is too large"}', None)

    THROTTLED = (429, '{"detail": "Request was throttled. Expected available in 5 seconds."}', "5")

    def test_limits_the_requests_of_a_client(self, nginx, tmp_path):
        port = nginx((" rate=100r/s", " rate=1r/m"), ("burst=1000", "burst=2"))

        responses = [self.post(port, "/v1/sync") for _ in range(5)]

        assert responses == [(200, "api.example.org", None)] * 3 + [self.THROTTLED] * 2
        log = tmp_path / "countonme.log"
        wait_until(lambda: len(log.read_text().splitlines()) == 2, "nginx does not log the errors")  # after responding
        assert {json.loads(line)["status"] for line in log.read_text().splitlines()} == {429}

    def test_limits_the_simultaneous_requests_of_a_client(self, nginx):
        port = nginx(("countonme_connections 200", "countonme_connections 1"))

        with closing(HTTPConnection("127.0.0.1", port, timeout=10)) as client:
            client.putrequest("POST", "/v1/sync")
            client.putheader("Content-Length", "10")
            client.endheaders()
            wait_until(lambda: self.post(port, "/v1/products") == self.THROTTLED, "nginx accepts a second request")
            client.send(b"x" * 10)
            assert client.getresponse().status == 200
        wait_until(lambda: self.post(port, "/v1/products")[0] == 200, "nginx refuses further requests")

    @pytest.mark.parametrize(
        ("address", "client"),
        [
            ("203.0.113.7", "203.0.113.7"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2"),
            ("2001:db8:1:2::6", "2001:db8:1:2"),
            ("2001:db8:1::6", "2001:db8:1"),
            ("2001:db8::6", "2001:db8"),
            ("::ffff:203.0.113.7", "::ffff:203.0.113.7"),
        ],
    )
    def test_counts_a_network_of_ipv6_as_one_client(self, nginx, address, client):
        real_ip = "set_real_ip_from 127.0.0.1; real_ip_header X-Forwarded-For; real_ip_recursive off;"
        other = free_port()
        nginx(more=f"server {{ listen 127.0.0.1:{other}; {real_ip} return 200 $countonme_client; }}")

        with urlopen(Request(f"http://127.0.0.1:{other}/", headers={"X-Forwarded-For": address})) as response:
            assert response.read().decode() == client


class TestPrometheus:
    def test_scrapes_where_the_service_listens(self):
        (scrape,) = yaml.safe_load((DEPLOY / "prometheus/scrape.yml").read_text())

        (target,) = scrape["static_configs"][0]["targets"]
        assert f"ListenStream={target}\n" in (DEPLOY / "systemd/countonme.socket").read_text()
        assert scrape["authorization"]["credentials_file"] in PAGE
        assert scrape["job_name"] in (DEPLOY / "prometheus/alerts.yml").read_text()

    def test_listens_on_this_machine_only(self):
        (installed,) = re.findall(r"apt-get install .*?((?: prometheus[\w-]*)+)\n", PAGE)

        for package in installed.split():
            (arguments,) = re.findall(rf"echo 'ARGS=\"(.*)\"' \|\s.*/etc/default/{package} ", PAGE.replace("|\n", "|"))
            assert "--web.listen-address=127.0.0.1:" in arguments
        assert "--cluster.listen-address=" in arguments.split()  # Alertmanager's second port

    @pytest.mark.skipif(not shutil.which("promtool"), reason="needs Prometheus")
    def test_accepts_the_rules(self):
        assert run(shutil.which("promtool"), "check", "rules", DEPLOY / "prometheus/alerts.yml").returncode == 0

    @pytest.mark.skipif(not shutil.which("promtool"), reason="needs Prometheus")
    def test_alerts_late_backups_and_erasures(self):
        tested = run(shutil.which("promtool"), "test", "rules", ROOT / "tests/project/alerts.yml")

        assert tested.returncode == 0, tested.stderr + tested.stdout
