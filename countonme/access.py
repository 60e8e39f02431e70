"""What is told of every request once it is answered."""

from datetime import UTC, datetime
from logging import ERROR, INFO, getLevelName, getLogger
from time import perf_counter

from countonme import database_time, metrics
from countonme.logging import tell
from countonme.routes import route_of

log = getLogger("countonme.requests")


def began() -> float:
    if metrics.instruments:
        database_time.begin()
    return perf_counter()


def ended(request, response, started: float) -> None:
    """Count and log an answered request, in one line."""
    seconds, status = perf_counter() - started, response.status_code
    route = route_of(request)
    if metrics.instruments:
        metrics.request_answered(request.method, route, status, seconds)
    level = ERROR if status >= 500 and status != 507 else INFO  # a quota that is reached is no failure
    if not log.isEnabledFor(level):
        return
    tell(
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


def device_of(request):
    """Return the id of the device that was let in. Staff is not looked up: that would be a query."""
    return request.user.pk if getattr(request, "auth", None) else None
