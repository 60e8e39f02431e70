import os
import re
import runpy
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml
from django.conf import settings

from countonme.serving import sizing
from tests.harness.processes import free_port
from tests.harness.service import serve

ROOT = Path(settings.BASE_DIR)
POSTGRES, SQLITE = "countonme.db.postgresql", "countonme.db.sqlite"


def read_configuration() -> dict:
    return runpy.run_path(str(ROOT / "gunicorn.conf.py"))


def run_statement(statement: str) -> list[str]:
    """Run a statement in a process that has loaded the service. Return the words that it prints."""
    command = [sys.executable, "-c", f"import countonme.wsgi; {statement}"]
    environment = {**os.environ, "DEBUG": "off"}
    return subprocess.run(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True
    ).stdout.split()


def run_in_two_threads(prelude: str, expression: str) -> list[str]:
    """Print an expression in two threads of such a process, one after the other. Return the words."""
    other = f"other = threading.Thread(target=lambda: print({expression})); other.start(); other.join()"
    return run_statement(f"import threading; {prelude}; print({expression}); {other}")


class TestAThread:
    def test_has_its_own_script_prefix(self):
        is_stored = "assert vars(base._prefixes)['value'] == '/api/'"
        prelude = f"from django.urls import base; base.set_script_prefix('/api/'); {is_stored}"

        assert run_in_two_threads(prelude, "base.get_script_prefix()") == ["/api/", "/"]

    def test_has_its_own_urlconf(self):
        is_stored = "assert vars(base._urlconfs)['value'] == 'other.urls'"
        prelude = f"from django.urls import base; base.set_urlconf('other.urls'); {is_stored}"

        assert run_in_two_threads(prelude, "base.get_urlconf()") == ["other.urls", "None"]

    def test_has_its_own_database_connection(self):
        is_stored = "assert 'default' in vars(connections._connections)"
        prelude = f"from django.db import connections; first = connections['default']; {is_stored}"

        assert run_in_two_threads(prelude, "connections['default'] is first") == ["True", "False"]


class TestRequestSignals:
    def test_have_no_receivers_at_the_start(self):
        prelude = "from django.core.signals import request_started"

        assert run_statement(f"{prelude}; print(request_started.has_listeners())") == ["False"]

    @pytest.mark.parametrize(
        ("receiver", "connected"),
        [
            ("django.core.cache.close_caches", "False"),
            ("django.core.handlers.base.reset_urlconf", "True"),
            ("django.db.close_old_connections", "True"),
        ],
    )
    def test_have_only_the_needed_receivers_at_the_end(self, receiver, connected):
        module, _, name = receiver.rpartition(".")
        prelude = f"from django.core.signals import request_finished; from {module} import {name}"

        assert run_statement(f"{prelude}; print(request_finished.disconnect({name}))") == [connected]


class TestGunicorn:
    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("WEB_CONCURRENCY", "0"),
            ("WEB_CONCURRENCY", "-1"),
            ("WEB_CONCURRENCY", "two"),
            ("WEB_CONCURRENCY", "1.5"),
            ("WEB_CONCURRENCY", "\u00b2"),
            ("WEB_THREADS", "0"),
            ("CLIENT_TIMEOUT", "soon"),
        ],
    )
    def test_does_not_start_if_a_number_is_invalid(self, monkeypatch, name, value):
        monkeypatch.setenv(name, value)

        with pytest.raises(SystemExit) as stopped:
            read_configuration()

        assert stopped.value.code == f"{name} is {value!r}. It must be an integer of at least 1."

    @pytest.mark.parametrize("name", ["missing/erasures.txt", "folder", "file/erasures.txt"])
    def test_does_not_start_if_the_ledger_is_not_writable(self, tmp_path, name):
        (tmp_path / "folder").mkdir()
        (tmp_path / "file").touch()
        environment = os.environ | {"ERASURE_LEDGER": str(tmp_path / name), "PORT": str(free_port())}
        command = [Path(sys.executable).with_name("gunicorn"), "countonme.wsgi"]

        run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)

        assert run.returncode == 1
        assert run.stderr == (
            f"ERASURE_LEDGER is '{tmp_path / name}'. It must be a file that the user of the service can write, in an "
            "existing folder.\n"
        )

    def test_reads_its_numbers_from_the_environment(self, monkeypatch):
        monkeypatch.setenv("WEB_CONCURRENCY", "5")
        monkeypatch.setenv("WEB_THREADS", "2")
        monkeypatch.setenv("FORWARDED_ALLOW_IPS", "10.0.0.1")

        found = read_configuration()

        assert (found["workers"], found["threads"], found["worker_connections"]) == (5, 2, 6)
        assert found["forwarded_allow_ips"] == "10.0.0.1"

    def test_has_the_log_level_of_the_service(self, monkeypatch):
        monkeypatch.setitem(settings.LOGGING["root"], "level", "ERROR")

        assert read_configuration()["loglevel"] == "error"

    @pytest.mark.parametrize(
        ("engine", "cores", "workers"),
        [
            (POSTGRES, 1, 2),
            (POSTGRES, 2, 2),
            (POSTGRES, 8, 8),
            (POSTGRES, 64, 16),
            (SQLITE, 1, 1),
            (SQLITE, 64, 1),
        ],
    )
    def test_has_a_worker_per_core_by_default(self, monkeypatch, engine, cores, workers):
        monkeypatch.setenv("WEB_CONCURRENCY", "")
        monkeypatch.setattr(sizing, "cores", lambda: cores)
        monkeypatch.setitem(settings.DATABASES["default"], "ENGINE", engine)

        assert read_configuration()["workers"] == workers

    @pytest.mark.parametrize(("engine", "threads"), [(POSTGRES, 3), (SQLITE, 20)])
    def test_has_more_threads_on_sqlite(self, monkeypatch, engine, threads):
        monkeypatch.delenv("WEB_THREADS")
        monkeypatch.setitem(settings.DATABASES["default"], "ENGINE", engine)

        assert read_configuration()["threads"] == threads

    @pytest.mark.parametrize(("workers", "connections"), [("1", 500), ("2", 9)])
    def test_limits_connections_if_there_are_several_workers(self, monkeypatch, workers, connections):
        monkeypatch.setenv("WEB_CONCURRENCY", workers)

        assert read_configuration()["worker_connections"] == connections

    @pytest.mark.parametrize(
        ("share", "cores"),
        [("max 100000", 64), ("150000 100000", 2), ("50000 100000", 1), ("6400000 100000", 64), ("", 64), (None, 64)],
    )
    def test_counts_the_cores_that_its_container_may_use(self, monkeypatch, tmp_path, share, cores):
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(64)))
        if share is not None:
            (tmp_path / "cpu.max").write_text(share + "\n")

        assert sizing.cores(tmp_path / "cpu.max") == cores

    def test_has_more_time_to_stop_in_compose_than_it_needs(self):
        compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())

        grace = compose["services"]["api"]["stop_grace_period"]
        assert read_configuration()["graceful_timeout"] < int(grace.removesuffix("s"))


class TestAService:
    def test_ignores_a_script_name_from_a_local_client(self, live_url, tmp_path):
        with serve(live_url, tmp_path / "log") as service:
            response = service.phone.send("GET", "/healthz", headers={"SCRIPT_NAME": "/healthz"})

        assert response.status_code == 200

    def test_replaces_a_worker_after_max_requests_and_drops_no_request(self, live_url, tmp_path):
        variables = {"LOG_FORMAT": "json", "GUNICORN_CMD_ARGS": "--max-requests 20 --max-requests-jitter 0"}
        with serve(live_url, tmp_path / "log", **variables) as service, ThreadPoolExecutor(4) as pool:
            responses = list(pool.map(lambda _: service.phone.get("/healthz"), range(100)))

            assert [response.json() for response in responses] == [{"status": "ok"}] * 100
            booted = [line for line in service.lines() if re.match("Booting worker", line.get("message", ""))]
            assert len(booted) > 4
