"""What is in deploy/, as far as this machine can try it."""

import os
import shutil
import sqlite3
import subprocess
import time
from pathlib import Path

import pytest
from django.conf import settings

ROOT = Path(settings.BASE_DIR)
DEPLOY = ROOT / "deploy"


def run(*command, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(list(map(str, command)), cwd=ROOT, env=environment, capture_output=True, text=True)


@pytest.fixture
def commands(tmp_path):
    """Return a function that makes a folder of commands: those that a script needs, and stand-ins for others."""
    folder = tmp_path / "bin"
    folder.mkdir()

    def put(*found: str, **standing_in: str) -> str:
        for name in found:
            (folder / name).symlink_to(shutil.which(name))
        for name, script in standing_in.items():
            (folder / name).write_text(f"#!/bin/sh\n{script}\n")
            (folder / name).chmod(0o755)
        return str(folder)

    return put


class TestBackup:
    TOOLS = ("date", "find", "mv", "sync")

    def backed_up(self, path: str, folder: Path, **environment: str) -> subprocess.CompletedProcess:
        named = {"DATABASE_URL": "postgres:///countonme", "BACKUPS": str(folder)} | environment
        return run("/bin/sh", DEPLOY / "backup.sh", PATH=path, **named)

    def test_says_that_pg_dump_is_missing(self, commands, tmp_path):
        done = self.backed_up(commands(*self.TOOLS), tmp_path)

        assert done.returncode == 1
        assert done.stderr == "pg_dump is not installed. On Debian: apt-get install postgresql-client\n"

    def test_is_none_where_pg_dump_failed(self, commands, tmp_path):
        folder = tmp_path / "backups"
        folder.mkdir()

        done = self.backed_up(commands(*self.TOOLS, pg_dump="exit 1", pg_restore="exit 0"), folder)

        assert done.returncode == 1
        assert list(folder.iterdir()) == []

    def test_keeps_those_of_two_weeks_and_touches_nothing_else(self, commands, tmp_path):
        folder = tmp_path / "backups"
        folder.mkdir()
        for name, days in (("countonme-old.dump", 20), ("countonme-new.dump", 3), ("other.dump", 20)):
            (folder / name).touch()
            os.utime(folder / name, times=(time.time() - days * 86_400,) * 2)
        dump = 'for a; do case $a in --file=*) echo data > "${a#--file=}";; esac; done'

        done = self.backed_up(commands(*self.TOOLS, pg_dump=dump, pg_restore="exit 0"), folder)

        made = Path(done.stdout.strip())
        assert done.returncode == 0, done.stderr
        assert made.read_text() == "data\n"
        assert made.stat().st_mode & 0o077 == 0
        assert {file.name for file in folder.iterdir()} == {"countonme-new.dump", "other.dump", made.name}

    @pytest.mark.parametrize("url", ["sqlite:///db.sqlite3", ""])
    def test_is_of_postgresql(self, commands, tmp_path, url):
        done = self.backed_up(commands(*self.TOOLS, pg_dump="exit 0"), tmp_path, DATABASE_URL=url)

        assert done.returncode != 0
        assert "DATABASE_URL" in done.stderr


class TestBackupsOfSQLite:
    @pytest.mark.parametrize("statement", ["VACUUM INTO 'backup.sqlite3'"])
    def test_are_whole_beside_a_service_that_writes(self, tmp_path, monkeypatch, statement):
        assert statement in (ROOT / "docs/backup.md").read_text()
        monkeypatch.chdir(tmp_path)
        live = sqlite3.connect("db.sqlite3", isolation_level=None)
        live.execute("PRAGMA journal_mode=WAL")
        live.execute("CREATE TABLE eaten (name)")
        live.execute("INSERT INTO eaten VALUES ('rye')")

        other = sqlite3.connect("db.sqlite3")
        other.execute(statement)
        other.close()

        copy = sqlite3.connect("backup.sqlite3")
        assert copy.execute("SELECT name FROM eaten").fetchall() == [("rye",)]
        copy.close()
        live.close()
