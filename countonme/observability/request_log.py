"""The request log: one line for each request, written when the response is ready."""

from datetime import UTC, datetime
from functools import cache
from hashlib import blake2b
from logging import ERROR, INFO, getLevelName, getLogger
from time import perf_counter
from uuid import UUID

from django.conf import settings

from countonme.observability import metrics, query_timer
from countonme.observability.log_format import write_request
from countonme.observability.routes import route_of

log = getLogger("countonme.requests")


def start() -> float:
    """Start to measure a request. Return the start time, which `finish()` needs."""
    if metrics.instruments:
        query_timer.start()
    return perf_counter()


def finish(request, response, started: float) -> None:
    """Count the request, and write its line to the log."""
    seconds, status = perf_counter() - started, response.status_code
    route = route_of(request)
    if metrics.instruments:
        metrics.count_request(request.method, route, status, seconds)
    level = ERROR if status >= 500 and status != 507 else INFO  # 507: a device has reached its quota, which is no fault
    if not log.isEnabledFor(level):
        return
    write_request(
        {
            "time": datetime.now(UTC),
            "level": getLevelName(level),
            "logger": log.name,
            "request_id": request.id,
            "method": request.method,
            "route": route,
            "status": status,
            "ms": round(seconds * 1000, 2),
            "device": device_of(request),
            "bytes": int(response.headers.get("Content-Length", 0)),
        }
    )


def device_of(request) -> str | None:
    """Return the log's name of the device that sent the request. Staff users are not logged: that would be a query."""
    return name_in_log(request.user.pk) if getattr(request, "auth", None) else None


def name_in_log(device_id: UUID) -> str:
    """Return the device's name in the log: a keyed hash of its id, 16 hex digits.

    Support can compute it as long as the device is stored. After the device is erased, the name can't be linked to it.
    """
    return blake2b(device_id.bytes, key=log_key(settings.SECRET_KEY), digest_size=8).hexdigest()


@cache
def log_key(secret: str) -> bytes:
    return blake2b(f"log {secret}".encode()).digest()
