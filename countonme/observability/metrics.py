"""What Prometheus reads at `/metrics`. Nothing is counted, and the library not loaded, unless METRICS_TOKEN is set.

With gunicorn each worker counts in files of its own, in the folder that PROMETHEUS_MULTIPROC_DIR names, and whichever
worker is asked adds them up.
"""

import logging
import os
from collections.abc import Callable
from functools import lru_cache

from django.conf import settings
from django.http import HttpResponse, JsonResponse
from django.utils.crypto import constant_time_compare
from django.views.decorators.csrf import csrf_exempt

from countonme.api import errors
from countonme.observability.query_timer import waited
from countonme.observability.worker_slots import Slot

log = logging.getLogger(__name__)

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
ROWS = (0, 1, 10, 100, 1_000, 10_000, 100_000)
BYTES = (1_000, 10_000, 100_000, 1_000_000, 5_000_000, 20_000_000)
METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}  # a stranger may send any; a series is for ever


class Instruments:
    def __init__(self, registry):
        from prometheus_client import Counter, Histogram

        self.registry = registry
        self.requests = Histogram(
            "countonme_request_seconds",
            "Time from a request's arrival in the service until its answer is ready.",
            ["method", "route", "status"],
            buckets=SECONDS,
            registry=registry,
        )
        self.database = Histogram(
            "countonme_database_seconds",
            "Time that a request waited for the database, all its queries together.",
            ["route"],
            buckets=SECONDS,
            registry=registry,
        )
        self.tokens = Counter("countonme_token_checks", "Tokens, by what was found.", ["outcome"], registry=registry)
        self.rows = Histogram("countonme_sync_rows", "Rows of a call.", ["call"], buckets=ROWS, registry=registry)
        self.bytes = Histogram(
            "countonme_sync_bytes", "Bytes of a call, uncompressed.", ["call"], buckets=BYTES, registry=registry
        )
        self.conflicts = Counter("countonme_sync_conflicts", "Rows in conflict.", ["table"], registry=registry)
        # A child is looked up under a lock, by names that are made texts: several times the price of counting.
        self.of_request = lru_cache(maxsize=4096)(self.requests.labels)
        self.of_database = lru_cache(maxsize=1024)(self.database.labels)


instruments: Instruments | None = None


def turn_on() -> None:
    """Count from now on. Called once a process, before it is forked."""
    global instruments
    import prometheus_client
    from prometheus_client import multiprocess, values

    registry = prometheus_client.CollectorRegistry()
    if folder := os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        values.ValueClass = values.MultiProcessValue(Slot(folder))
    instruments = Instruments(registry)
    if folder:  # what is shown is the files', whichever process they come from
        instruments.registry = prometheus_client.CollectorRegistry()
        multiprocess.MultiProcessCollector(instruments.registry, folder)


def request_answered(method: str, route: str | None, status: int, seconds: float) -> None:
    def add(to: Instruments) -> None:
        to.of_request(method if method in METHODS else "other", route or "none", status).observe(seconds)
        to.of_database(route or "none").observe(waited())

    count(add)


def token_checked(outcome: str) -> None:
    count(lambda to: to.tokens.labels(outcome).inc())


def synced_rows(call: str, number: int) -> None:
    count(lambda to: to.rows.labels(call).observe(number))


def synced_bytes(call: str, size: int) -> None:
    count(lambda to: to.bytes.labels(call).observe(size))


def conflicted(conflicts: dict[str, list]) -> None:
    for table, ids in conflicts.items():
        count(lambda to, table=table, ids=ids: to.conflicts.labels(table).inc(len(ids)))


def count(add: Callable[[Instruments], None]) -> None:
    if instruments is None:
        return
    try:
        add(instruments)
    except Exception:  # a disk that is full, most of all: no reason to refuse an answer
        log.exception("Something was not counted")


@csrf_exempt  # it has no use for a cookie, and no form
def page(request) -> HttpResponse:
    """Show all that was counted to who has the token."""
    if not settings.METRICS_TOKEN or instruments is None:
        return errors.not_found(request)
    if request.method not in ("GET", "HEAD"):
        return JsonResponse({"detail": f'Method "{request.method}" not allowed.'}, status=405, headers={"Allow": "GET"})
    if not constant_time_compare(request.headers.get("Authorization", ""), f"Bearer {settings.METRICS_TOKEN}"):
        return JsonResponse({"detail": "Unauthorized"}, status=401, headers={"WWW-Authenticate": "Bearer"})
    from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

    shown = generate_latest(instruments.registry)
    return HttpResponse(shown, content_type=CONTENT_TYPE_LATEST, headers={"Cache-Control": "no-store"})
