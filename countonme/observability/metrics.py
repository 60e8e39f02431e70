"""Prometheus metrics at `/metrics`. Without METRICS_TOKEN nothing is counted, and the library is not loaded.

With gunicorn, each worker counts in its own files in the folder PROMETHEUS_MULTIPROC_DIR. The worker that serves
`/metrics` adds them up.
"""

import logging
import os
from collections.abc import Callable, Iterator
from functools import lru_cache

from django.conf import settings
from django.db import Error as DatabaseError
from django.http import HttpResponse, JsonResponse
from django.utils.crypto import constant_time_compare
from django.views.decorators.csrf import csrf_exempt

from countonme.api import errors
from countonme.db.availability import retry_if_connection_died
from countonme.observability.query_timer import seconds_waited
from countonme.observability.worker_slots import WorkerSlot

log = logging.getLogger(__name__)

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
ROWS = (0, 1, 10, 100, 1_000, 10_000, 100_000)
BYTES = (1_000, 10_000, 100_000, 1_000_000, 5_000_000, 20_000_000)
# Clients may send any method, and each label value adds a series that is never removed: others count as "other".
METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}


class Instruments:
    """The counters and histograms of this process."""

    def __init__(self, registry):
        from prometheus_client import Counter, Histogram

        self.registry = registry
        self.requests = Histogram(
            "countonme_request_seconds",
            "Time from a request's arrival in the service until its response is ready.",
            ["method", "route", "status"],
            buckets=SECONDS,
            registry=registry,
        )
        self.database = Histogram(
            "countonme_database_seconds",
            "Time that a request waited for the database, in all its queries.",
            ["route"],
            buckets=SECONDS,
            registry=registry,
        )
        self.tokens = Counter("countonme_token_checks", "Token checks, by outcome.", ["outcome"], registry=registry)
        self.rows = Histogram("countonme_sync_rows", "Rows in a call.", ["call"], buckets=ROWS, registry=registry)
        self.bytes = Histogram(
            "countonme_sync_bytes", "Bytes in a call, uncompressed.", ["call"], buckets=BYTES, registry=registry
        )
        self.conflicts = Counter("countonme_sync_conflicts", "Rows in conflict.", ["table"], registry=registry)
        # labels() converts each value to a string and takes a lock.
        self.request_series = lru_cache(maxsize=4096)(self.requests.labels)
        self.database_series = lru_cache(maxsize=1024)(self.database.labels)


class Gauges:
    """Values that are read at each scrape. A value that is None, or can't be read, is left out."""

    def __init__(self):
        self.functions: dict[str, tuple[str, Callable[[], float | None]]] = {}  # with the description, by name

    def collect(self) -> Iterator:
        """Read the values. A registry of prometheus_client calls this."""
        from prometheus_client.core import GaugeMetricFamily

        for name, (description, read) in self.functions.items():
            try:
                value = retry_if_connection_died(read)
            except DatabaseError:  # it is unavailable, or its migrations are not applied
                continue
            if value is not None:
                yield GaugeMetricFamily(name, description, value=value)


instruments: Instruments | None = None
gauges = Gauges()


def gauge(name: str, description: str):
    """Decorate a function without arguments that returns the value of a gauge."""

    def add(read: Callable[[], float | None]):
        gauges.functions[name] = (description, read)
        return read

    return add


def turn_on() -> None:
    """Start to count. Call it once, before the process is forked."""
    global instruments
    import prometheus_client
    from prometheus_client import multiprocess, values

    registry = prometheus_client.CollectorRegistry()
    if folder := os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        values.ValueClass = values.MultiProcessValue(WorkerSlot(folder))
    instruments = Instruments(registry)
    if folder:  # `/metrics` shows the sums of all processes' files
        instruments.registry = prometheus_client.CollectorRegistry()
        multiprocess.MultiProcessCollector(instruments.registry, folder)
    instruments.registry.register(gauges)


def count_request(method: str, route: str | None, status: int, seconds: float) -> None:
    def add(to: Instruments) -> None:
        to.request_series(method if method in METHODS else "other", route or "none", status).observe(seconds)
        to.database_series(route or "none").observe(seconds_waited())

    count(add)


def count_token_check(outcome: str) -> None:
    count(lambda to: to.tokens.labels(outcome).inc())


def count_sync_rows(call: str, number: int) -> None:
    count(lambda to: to.rows.labels(call).observe(number))


def count_sync_bytes(call: str, size: int) -> None:
    count(lambda to: to.bytes.labels(call).observe(size))


def count_conflicts(conflicts: dict[str, list]) -> None:
    for table, ids in conflicts.items():
        count(lambda to, table=table, ids=ids: to.conflicts.labels(table).inc(len(ids)))


def count(add: Callable[[Instruments], None]) -> None:
    if instruments is None:
        return
    try:
        add(instruments)
    except Exception:  # for example, the disk is full: the request must still succeed
        log.exception("Metrics could not be written")


@csrf_exempt  # it uses no cookies and has no form
def metrics_view(request) -> HttpResponse:
    """Return the metrics to clients with METRICS_TOKEN."""
    if not settings.METRICS_TOKEN or instruments is None:
        return errors.not_found(request)
    if request.method not in ("GET", "HEAD"):
        return errors.method_not_allowed(request, ("GET", "HEAD"))
    if not constant_time_compare(request.headers.get("Authorization", ""), f"Bearer {settings.METRICS_TOKEN}"):
        return JsonResponse({"detail": "Unauthorized"}, status=401, headers={"WWW-Authenticate": "Bearer"})
    from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

    text = generate_latest(instruments.registry)
    return HttpResponse(text, content_type=CONTENT_TYPE_LATEST, headers={"Cache-Control": "no-store"})
