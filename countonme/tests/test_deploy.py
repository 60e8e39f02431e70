"""What is in deploy/, as far as this machine can try it."""

import os
import re
import shutil
import sqlite3
import ssl
import stat
import subprocess
import sys
import time
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
import yaml
from django.conf import settings
from django.core.management import get_commands

from benchmarks.processes import free_port, until
from countonme import metrics
from countonme.tests.served import served

ROOT = Path(settings.BASE_DIR)
DEPLOY = ROOT / "deploy"


def run(*command, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(list(map(str, command)), cwd=ROOT, env=environment, capture_output=True, text=True)


def modes(folder: Path, pattern: str = "*") -> dict[str, int]:
    """Return the permissions of the files in a folder."""
    return {file.name: stat.S_IMODE(file.stat().st_mode) for file in folder.glob(pattern)}


@pytest.fixture
def usual_umask():
    """Let this process and those that it starts create files that everybody can read, as is usual."""
    before = os.umask(0o022)
    yield
    os.umask(before)


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


@pytest.mark.usefixtures("usual_umask")
class TestFilesWithData:
    """Only the user who runs the service can read them."""

    def migrated(self, folder: Path) -> str:
        """Create an SQLite database as `make run` does; return its URL."""
        url = f"sqlite:///{folder / 'db.sqlite3'}"
        migrated = run(sys.executable, "manage.py", "migrate", "--noinput", **{**os.environ, "DATABASE_URL": url})
        assert migrated.returncode == 0, migrated.stderr
        return url

    def test_are_private_if_migrate_creates_them(self, tmp_path):
        self.migrated(tmp_path)

        assert modes(tmp_path) == {"db.sqlite3": 0o600}

    def test_are_private_while_the_service_writes(self, tmp_path):
        url = self.migrated(tmp_path)

        with served(url, tmp_path / "log") as service:
            service.register()

            assert modes(tmp_path, "db.*") == {"db.sqlite3": 0o600, "db.sqlite3-wal": 0o600, "db.sqlite3-shm": 0o600}
            for worker in service.workers():
                assert "\nUmask:\t0077\n" in Path(f"/proc/{worker}/status").read_text()

    def test_are_private_if_they_are_exports(self, tmp_path):
        url = self.migrated(tmp_path)

        dumped = run(
            *(sys.executable, "manage.py", "dumpdata", "devices", "--output", tmp_path / "devices.json"),
            **{**os.environ, "DATABASE_URL": url},
        )

        assert dumped.returncode == 0, dumped.stderr
        assert modes(tmp_path, "*.json") == {"devices.json": 0o600}

    def test_are_private_if_make_writes_a_key(self, tmp_path):
        (tmp_path / ".env").write_text("LOG_LEVEL=INFO\n")  # a copy of .env.example, which everybody can read

        run("make", f"--file={ROOT / 'Makefile'}", f"--directory={tmp_path}", "key", PATH=os.environ["PATH"])

        assert "SECRET_KEY=" in (tmp_path / ".env").read_text()
        assert modes(tmp_path)[".env"] & 0o007 == 0


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
    @pytest.mark.skipif(not shutil.which("sqlite3"), reason="needs sqlite3")
    @pytest.mark.parametrize("statement", ["VACUUM INTO 'backup.sqlite3'", ".backup backup.sqlite3"])
    def test_are_whole_beside_a_service_that_writes(self, tmp_path, monkeypatch, statement, usual_umask):
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


PAGE = (ROOT / "docs/deployment.md").read_text()
COMMANDS = re.findall(r"```sh\n(.*?)```", PAGE, re.S)
UNITS = sorted((DEPLOY / "systemd").iterdir())
NGINX = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")


class TestThePage:
    def test_has_commands_that_a_shell_can_read(self):
        assert len(COMMANDS) >= 9
        for block in COMMANDS:
            assert run("sh", "-n", "-c", block).returncode == 0, block

    def test_names_files_and_commands_that_there_are(self):
        every = "".join(COMMANDS)
        files = re.findall(r"\bdeploy/[\w./-]*[\w]", every)
        commands = re.findall(r"manage\.py (\w+)", every)
        units = re.findall(r"countonme(?:-\w+)?\.(?:service|socket|timer)", every)

        assert len(files) >= 4
        assert [file for file in files if not list(ROOT.glob(f"{file}*"))] == []
        assert {"migrate", "createsuperuser", "check"} <= set(commands) <= set(get_commands())
        assert set(units) <= {unit.name for unit in UNITS}
        assert {unit.name for unit in UNITS if unit.suffix != ".service"} <= set(units)

    def test_makes_settings_that_are_safe(self):
        (block,) = [block for block in COMMANDS if "SECRET_KEY=" in block]
        heredoc = block[block.index("sudo tee") :].replace("sudo tee /opt/countonme/.env > /dev/null", "cat")
        made = subprocess.run(["sh", "-c", heredoc], env={**os.environ, "NAME": "api.example.org"}, capture_output=True)

        lines = dict(line.split("=", 1) for line in made.stdout.decode().splitlines())

        assert set(lines) == {"SECRET_KEY", "METRICS_TOKEN", "ALLOWED_HOSTS", "DATABASE_URL", "NUM_PROXIES"}
        of_tests = {"HTTPS_ONLY": "on", "DEBUG": "off", "REGISTER_RATE": "10/min", "BCRYPT_ROUNDS": "4"}
        check = subprocess.run(
            [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"],
            cwd=ROOT,
            env={**os.environ, **of_tests, **lines},
            capture_output=True,
            text=True,
        )
        assert check.returncode == 0, check.stderr

    def test_makes_settings_that_only_the_service_reads(self):
        assert "--owner root --group countonme --mode 640 /dev/null /opt/countonme/.env" in PAGE


class TestTheUnits:
    @pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd")
    def test_are_understood_by_systemd(self, tmp_path):
        for unit in UNITS:
            here = unit.read_text().replace("/opt/countonme/.venv/bin/gunicorn", shutil.which("true"))
            here = here.replace("/opt/countonme/.venv/bin/python", shutil.which("true"))
            (tmp_path / unit.name).write_text(here.replace("/opt/countonme", str(ROOT)))

        verified = run("systemd-analyze", "verify", *sorted(tmp_path.iterdir()), PATH=os.environ["PATH"])

        about_ours = [line for line in verified.stderr.splitlines() if "countonme" in line]
        assert (verified.returncode, about_ours) == (0, []), verified.stderr

    def test_start_what_there_is_in_the_folder_of_the_page(self):
        started = re.findall(r"^ExecStart=(\S+) ?(\S*)", "".join(unit.read_text() for unit in UNITS), re.M)

        assert started == [
            ("/opt/countonme/deploy/backup.sh", ""),
            ("/opt/countonme/.venv/bin/python", "manage.py"),
            ("/opt/countonme/.venv/bin/gunicorn", "countonme.wsgi"),
        ]
        assert os.access(DEPLOY / "backup.sh", os.X_OK)

    def test_wait_longer_for_the_service_to_stop_than_it_takes(self):
        (unit,) = [unit.read_text() for unit in UNITS if unit.name == "countonme.service"]

        graceful = int(re.search(r"^graceful_timeout = (\d+)", (ROOT / "gunicorn.conf.py").read_text(), re.M)[1])
        assert int(re.search(r"^TimeoutStopSec=(\d+)", unit, re.M)[1]) > graceful


@pytest.mark.skipif(not NGINX, reason="needs nginx")
class TestNginx:
    @pytest.fixture
    def certificate(self, tmp_path):
        asked = "req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=api.example.org -keyout key -out cert"
        subprocess.run(["openssl", *asked.split()], cwd=tmp_path, check=True, capture_output=True)
        return f"ssl_certificate {tmp_path}/cert; ssl_certificate_key {tmp_path}/key;"

    def configured(self, folder: Path, *, upstream: str, listen: str) -> Path:
        """Write a configuration around deploy/nginx.conf, which listens as certbot would have it."""
        ours = (DEPLOY / "nginx.conf").read_text()
        ours = ours.replace("127.0.0.1:8000", upstream).replace("listen 80;", listen).replace("listen [::]:80;", "")
        ours = ours.replace("/var/log/nginx", str(folder))
        temporary = "".join(
            f"{name}_temp_path {folder}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        file = folder / "nginx.conf"
        user = "user root;" if os.geteuid() == 0 else ""
        main = f"daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/start.log; events {{}}"
        file.write_text(f"{user} {main}\nhttp {{ {temporary}\n{ours}\n}}\n")
        return file

    def test_understands_the_file(self, tmp_path):
        file = self.configured(tmp_path, upstream="127.0.0.1:8000", listen="listen 127.0.0.1:18080;")

        tested = run(NGINX, "-t", "-c", file)

        assert tested.returncode == 0, tested.stderr
        assert "[warn]" not in tested.stderr

    def test_ends_tls_in_front_of_the_service(self, live_url, tmp_path, certificate):
        port = free_port()
        trusting = ssl.create_default_context(cafile=tmp_path / "cert")
        trusting.check_hostname = False  # it is asked by its address

        def ask(path: str, body: bytes | None = None) -> tuple[int, str]:
            request = Request(f"https://127.0.0.1:{port}{path}", body, {"Host": "api.example.org"})
            try:
                with urlopen(request, context=trusting, timeout=10) as answer:
                    return answer.status, answer.read().decode()
            except HTTPError as refused:
                return refused.code, refused.read().decode()

        safe = {"HTTPS_ONLY": "on", "ALLOWED_HOSTS": "api.example.org", "NUM_PROXIES": "1", "METRICS_TOKEN": "x" * 20}
        with served(live_url, tmp_path / "log", **safe) as service:
            listen = f"listen 127.0.0.1:{port} ssl; {certificate}"
            file = self.configured(tmp_path, upstream=f"127.0.0.1:{service.server.port}", listen=listen)
            nginx = subprocess.Popen([NGINX, "-c", str(file)], cwd=tmp_path, stderr=subprocess.DEVNULL)
            try:
                until(lambda: ask("/healthz")[0] == 200, "nginx does not answer")

                assert ask("/v1/products?search=dumplings")[0] == 401  # and no redirect to HTTPS, which it is
                assert ask("/metrics")[0] == 404
                assert ask("/v1/sync", b"x" * (21 * 1024 * 1024)) == (
                    413,
                    '{"detail": "The body is larger than 20971520 bytes."}',
                )
                assert ask("/v1/products?search=" + "%F0%9F%8D%9E" * 600)[0] == 401  # a long address
            finally:
                nginx.terminate()
                nginx.wait(10)
            assert service.ask("GET", "/metrics")[0] == 401
        written = "".join(file.read_text() for file in tmp_path.glob("*.log"))
        assert "dumplings" not in written + service.server.log.read_text()


class TestPrometheus:
    def test_asks_for_metrics_that_there_are(self, settings, monkeypatch):
        rules = yaml.safe_load((DEPLOY / "prometheus/alerts.yml").read_text())
        asked = set(re.findall(r"\bcountonme_\w+", str([rule["expr"] for rule in rules["groups"][0]["rules"]])))
        monkeypatch.setattr(metrics, "instruments", None)
        metrics.turn_on()

        known = {value._name for value in vars(metrics.instruments).values() if hasattr(value, "_labelnames")}

        assert asked
        assert {re.sub(r"_(count|sum|bucket|total)$", "", name) for name in asked} <= known

    def test_scrapes_where_the_service_listens(self):
        (scrape,) = yaml.safe_load((DEPLOY / "prometheus/scrape.yml").read_text())

        (target,) = scrape["static_configs"][0]["targets"]
        assert f"ListenStream={target}\n" in (DEPLOY / "systemd/countonme.socket").read_text()
        assert scrape["authorization"]["credentials_file"] in PAGE
        assert scrape["job_name"] in (DEPLOY / "prometheus/alerts.yml").read_text()

    @pytest.mark.skipif(not shutil.which("promtool"), reason="needs Prometheus")
    def test_understands_the_rules(self):
        assert run(shutil.which("promtool"), "check", "rules", DEPLOY / "prometheus/alerts.yml").returncode == 0
