import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest
from django.conf import settings as django_settings
from django.db import connection, connections
from django.test import Client
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from countonme.api.health import ReadyView
from countonme.observability import metrics
from countonme.observability.worker_slots import WorkerSlot
from countonme.serving import metrics_folder
from devices import token_cache
from devices.models import Backup, Erasure
from tests.harness.metrics import declared_metrics
from tests.harness.processes import wait_until
from tests.harness.service import serve
from tests.harness.sync import product, pull_changes, push, push_ok

TOKEN = "a-token-of-the-operator"
ROOT = Path(django_settings.BASE_DIR)


@pytest.fixture
def scrape(settings, monkeypatch, anonymous):
    """Turn metrics on. Return a function that returns the text of `/metrics`."""
    settings.METRICS_TOKEN = TOKEN
    monkeypatch.setattr(metrics, "instruments", None)
    metrics.turn_on()

    return lambda: anonymous.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"}).content.decode()


@pytest.fixture
def read_metric(scrape):
    """Turn metrics on. Return a function that returns the value of a sample by name and labels; 0 if it is missing."""
    return lambda name, **labels: sample(scrape(), name, **labels)


def sample(page: str, name: str, **labels: str) -> float:
    found = [
        one.value
        for family in text_string_to_metric_families(page)
        for one in family.samples
        if one.name == name and one.labels == labels
    ]
    return found[0] if found else 0


def requests(route: str, status: int, method: str = "GET") -> dict:
    return {"name": "countonme_request_seconds_count", "method": method, "route": route, "status": str(status)}


class TestTheEndpoint:
    def test_gets_404_if_no_token_is_configured(self, anonymous):
        response = anonymous.get("/metrics", headers={"Authorization": "Bearer "})

        assert response.status_code == 404
        assert response.json() == {"detail": "Not found"}

    @pytest.mark.parametrize("sent", [None, "", "Bearer", "Bearer ", f"Bearer {TOKEN}x", f"Token {TOKEN}", TOKEN, "é"])
    def test_gets_401_without_the_token(self, anonymous, read_metric, sent):
        response = anonymous.get("/metrics", headers={} if sent is None else {"Authorization": sent})

        assert response.status_code == 401
        assert response.json() == {"detail": "Unauthorized"}
        assert response["WWW-Authenticate"] == "Bearer"

    def test_gets_401_with_a_devices_token(self, api, read_metric):
        assert api.get("/metrics").status_code == 401

    @pytest.mark.parametrize("method", ["post", "put", "delete"])
    def test_gets_405_for_writes(self, read_metric, method):
        client = Client(enforce_csrf_checks=True)

        response = getattr(client, method)("/metrics", headers={"Authorization": f"Bearer {TOKEN}"})

        assert response.status_code == 405
        assert response["Allow"] == "GET, HEAD"

    def test_returns_the_prometheus_format_uncached(self, anonymous, db, read_metric):
        anonymous.get("/healthz")

        response = anonymous.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"})

        assert response.status_code == 200
        assert response["Content-Type"].startswith("text/plain; version=")
        assert response["Cache-Control"] == "no-store"
        assert sample(response.content.decode(), **requests("/healthz", 200)) == 1

    def test_works_for_any_host_and_without_tls(self, anonymous, db, read_metric, settings):
        settings.SECURE_SSL_REDIRECT = True

        response = anonymous.get("/metrics", headers={"Host": "10.0.0.7", "Authorization": f"Bearer {TOKEN}"})

        assert response.status_code == 200

    def test_works_during_an_outage_of_the_database(self, api, read_metric, unreachable_database):
        assert api.get("/v1/products").status_code == 503

        assert read_metric(**requests("/v1/products", 503)) == 1

    def test_is_not_in_the_schema(self, anonymous):
        assert not [path for path in anonymous.get("/v1/schema").json()["paths"] if "metrics" in path]


class TestRequests:
    def test_are_counted_by_route_method_and_status(self, api, anonymous, read_metric):
        for _ in range(2):
            api.get(f"/v1/products/{uuid4()}")
        anonymous.get("/v1/products")
        api.post("/v1/products", {"name": "Rye", "kcal_100g": 259})

        assert read_metric(**requests("/v1/products/{pk}", 404)) == 2
        assert read_metric(**requests("/v1/products", 401)) == 1
        assert read_metric(**requests("/v1/products", 201, "POST")) == 1

    def test_are_counted_if_they_are_throttled(self, anonymous, db, read_metric, settings):
        settings.REGISTER_RATE = "1/min"
        for _ in range(3):
            anonymous.post("/v1/auth/register", {"device_id": uuid4()})

        assert read_metric(**requests("/v1/auth/register", 429, "POST")) == 2

    def test_to_unknown_paths_share_one_series(self, anonymous, db, read_metric):
        for n in range(3):
            anonymous.generic(f"BREW{n}", f"/v1/nothing/{n}")

        assert read_metric(**requests("none", 404, "other")) == 3

    def test_are_measured_with_their_time_in_the_database(self, api, read_metric):
        api.get("/v1/products")

        waited = read_metric("countonme_database_seconds_sum", route="/v1/products")
        taken = read_metric("countonme_request_seconds_sum", method="GET", route="/v1/products", status="200")
        assert 0 < waited < taken

    def test_have_no_time_in_the_database_without_a_query(self, api, anonymous, read_metric):
        api.get("/v1/products")
        anonymous.get("/healthz")

        assert read_metric("countonme_database_seconds_count", route="/healthz") == 1
        assert read_metric("countonme_database_seconds_sum", route="/healthz") == 0

    @pytest.mark.django_db(transaction=True)
    def test_have_the_time_of_their_commit(self, api, read_metric, monkeypatch):
        connection = connections["default"]
        commit = connection.commit
        monkeypatch.setattr(connection, "execute_wrappers", [])
        monkeypatch.setattr(connection, "commit", lambda: (time.sleep(0.2), commit()))

        assert api.post("/v1/products", {"name": "Rye", "kcal_100g": 259}).status_code == 201

        assert read_metric("countonme_database_seconds_sum", route="/v1/products") > 0.2
        assert api.get("/v1/products").json()[0]["name"] == "Rye"


class TestAnErrorInCounting:
    def test_does_not_stop_the_response(self, api, read_metric, monkeypatch, log):
        def full(*labels):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(metrics.instruments, "request_series", full)
        monkeypatch.setattr(metrics.instruments.tokens, "labels", full)

        response = api.get("/v1/products")

        assert response.status_code == 200
        assert response.json() == []
        assert log.getvalue().count("Metrics could not be written") == 2


class TestTokens:
    def test_are_counted_by_outcome(self, api, device, anonymous, read_metric, settings):
        settings.AUTH_FAILURE_RATE = "1/min"
        secret = api.token.rpartition(".")[2]
        token_cache.local_cache.clear()
        for _ in range(3):
            api.get("/v1/products")
        wrong = f"{device.pk}.{'A' * 43}"
        for token in ("x", f"{uuid4()}.{secret}", wrong, wrong):
            anonymous.get("/v1/products", headers={"Authorization": f"Bearer {token}"})

        device.block()
        api.get("/v1/products")

        found = {
            outcome: read_metric("countonme_token_checks_total", outcome=outcome)
            for outcome in ("checked", "remembered", "malformed", "unknown", "wrong", "throttled", "blocked")
        }
        assert found == {
            "checked": 1,
            "remembered": 2,
            "malformed": 1,
            "unknown": 1,
            "wrong": 1,
            "throttled": 1,
            "blocked": 1,
        }


class TestSync:
    def test_is_counted_by_rows_and_bytes(self, api, read_metric):
        rows = [product(), product()]
        push_ok(api, products={"created": rows, "deleted": [str(uuid4())]})
        response = api.get("/v1/sync")

        assert read_metric("countonme_sync_rows_sum", call="push") == 3
        assert read_metric("countonme_sync_rows_sum", call="pull") == 4  # each with its portion
        assert read_metric("countonme_sync_bytes_sum", call="push") > 300
        assert read_metric("countonme_sync_bytes_sum", call="pull") == len(response.content)

    def test_counts_the_rows_in_conflict(self, api, read_metric):
        row = product()
        push_ok(api, products={"created": [row]})

        assert push(api, 1, products={"updated": [{**row, "name": "Bread"}]}).status_code == 409

        assert read_metric("countonme_sync_conflicts_total", table="products") == 1
        assert read_metric("countonme_sync_rows_count", call="push") == 1

    def test_works_if_metrics_are_turned_off(self, api):
        push_ok(api, products={"created": [product()]})

        assert len(pull_changes(api)["changes"]["products"]["updated"]) == 1
        assert metrics.instruments is None


class TestReadiness:
    @pytest.fixture(autouse=True)
    def just_started(self, monkeypatch):
        monkeypatch.setattr(ReadyView, "migrated", False)

    def test_is_1_if_the_service_is_ready(self, db, read_metric):
        assert read_metric("countonme_ready") == 1

    def test_is_0_if_migrations_are_missing(self, db, read_metric):
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM django_migrations WHERE app = 'food_entries'")

        assert read_metric("countonme_ready") == 0

    def test_is_0_during_an_outage_of_the_database(self, scrape, unreachable_database):
        assert "\ncountonme_ready 0.0\n" in scrape()


class TestTheLastBackup:
    def test_is_0_if_there_was_none(self, db, scrape):
        assert "\ncountonme_last_backup_timestamp_seconds 0.0\n" in scrape()

    def test_is_the_time_of_the_newest(self, db, read_metric):
        for day in (5, 7, 6):
            Backup.objects.create(started_at=datetime(2026, 1, day, 3, tzinfo=UTC))

        newest = read_metric("countonme_last_backup_timestamp_seconds")

        assert datetime.fromtimestamp(newest, UTC) == datetime(2026, 1, 7, 3, tzinfo=UTC)

    def test_is_recorded_by_other_tools_for_backups(self, db, read_metric):
        page = (ROOT / "docs/backup.md").read_text()
        statements = dict(re.findall(r'^(psql|sqlite3) .*"(INSERT INTO backups .*)"$', page, re.M))
        with connection.cursor() as cursor:
            cursor.execute(statements["psql" if connection.vendor == "postgresql" else "sqlite3"])

        assert abs(read_metric("countonme_last_backup_timestamp_seconds") - time.time()) < 60

    def test_is_left_out_during_an_outage_of_the_database(self, scrape, unreachable_database):
        assert "last_backup" not in scrape()


class TestTheOldestPendingErasure:
    NAME = "countonme_oldest_pending_erasure_timestamp_seconds"

    def test_is_missing_if_all_erasures_are_complete(self, device, scrape):
        Erasure.objects.request(device.pk, uuid4())
        Erasure.objects.update(erased_at=timezone.now())

        assert self.NAME not in scrape()

    def test_is_the_time_of_the_first_request(self, device, other_device, read_metric):
        for each in (device, other_device):
            Erasure.objects.request(each.pk, uuid4())
        first = Erasure.objects.get(device=device)

        assert read_metric(self.NAME) == first.requested_at.timestamp()


class TestAWorkerSlot:
    HOLD = (
        "from countonme.observability.worker_slots import WorkerSlot; import sys;"
        " print(WorkerSlot(sys.argv[1])(), flush=True); sys.stdin.read()"
    )

    def hold(self, folder) -> tuple[subprocess.Popen, int]:
        process = subprocess.Popen(
            [sys.executable, "-c", self.HOLD, folder], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        return process, int(process.stdout.readline())

    def test_is_unique_and_free_after_its_process_ends(self, tmp_path):
        processes = [self.hold(tmp_path) for _ in range(3)]
        (first, _), (second, _), (third, _) = processes
        assert [number for _, number in processes] == [0, 1, 2]

        second.kill()
        second.communicate()
        successor, number = self.hold(tmp_path)

        assert number == 1
        for process in (first, third, successor):
            process.communicate()

    def test_does_not_change_in_a_process(self, tmp_path):
        slot = WorkerSlot(tmp_path)

        assert [slot(), slot(), WorkerSlot(tmp_path)()] == [0, 0, 1]

    def test_changes_after_a_fork(self, tmp_path):
        slot = WorkerSlot(tmp_path)
        slot()
        reader, writer = os.pipe()
        if child := os.fork():
            os.waitpid(child, 0)
        else:
            os.write(writer, bytes([slot()]))
            os._exit(0)

        assert os.read(reader, 1) == b"\x01"
        os.close(reader)
        os.close(writer)


class TestWorkers:
    def test_are_summed_after_their_end_too(self, live_url, tmp_path):
        with serve(live_url, tmp_path / "log", METRICS_TOKEN=TOKEN) as service, ThreadPoolExecutor(6) as pool:

            def healthy() -> float:
                return sample(service.phone.get("/metrics").content.decode(), **requests("/healthz", 200))

            def send_60_requests() -> None:
                list(pool.map(lambda _: service.phone.get("/healthz"), range(60)))

            assert service.phone.get("/metrics").status_code == 401
            service.phone.token = TOKEN
            before, sent_requests = healthy(), 0
            for how in (signal.SIGTERM, signal.SIGKILL):
                send_60_requests()
                sent_requests += 60
                assert {healthy() for _ in range(10)} == {before + sent_requests}
                old = service.workers()
                for worker in old:
                    os.kill(worker, how)
                service.wait_for_others(old)
            old = service.workers()
            service.process.send_signal(signal.SIGHUP)
            service.wait_for_others(old)

            send_60_requests()
            assert {healthy() for _ in range(10)} == {before + sent_requests + 60}
            memory = "".join(Path(f"/proc/{worker}/maps").read_text() for worker in service.workers())
            (folder,) = {Path(found).parent for found in re.findall(r"/\S+/histogram_\d\.db", memory)}
            assert len(list(folder.glob("histogram_*.db"))) <= 4  # although there were eight workers
        assert not folder.exists()


class TestTheDocumentation:
    def test_lists_each_metric_with_its_labels(self):
        table = re.findall(r"^\| `(countonme_\w+)` \| (.*?) \|", (ROOT / "docs/metrics.md").read_text(), re.M)

        stated = {name.removesuffix("_total"): set(re.findall(r"`(\w+)`", labels)) for name, labels in table}

        assert stated == declared_metrics()

    def test_leave_no_files_if_the_service_is_killed(self, live_url, tmp_path):
        def files(service) -> list[Path]:
            parents = {Path("/dev/shm"), Path(tempfile.gettempdir())}  # noqa: S108
            return [file for each in parents for file in each.glob(f"{metrics_folder.PREFIX}{service.process.pid}-*")]

        with serve(live_url, tmp_path / "one", METRICS_TOKEN=TOKEN) as killed:
            assert len(files(killed)) == 1
            workers = killed.workers()
            killed.process.kill()
            wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers), "the workers don't end")

            with serve(live_url, tmp_path / "two", METRICS_TOKEN=TOKEN) as service:
                assert files(killed) == []
                assert len(files(service)) == 1
            assert files(service) == []
