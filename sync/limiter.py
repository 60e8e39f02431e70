"""Limit the pushes and pulls that run at once in a worker, so that one thread stays free for light requests.

docs/decisions/0016-large-syncs-leave-one-thread-free.md explains the rules.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Condition
from uuid import UUID

from rest_framework.exceptions import Throttled

WAIT_TIMEOUT = 1.0  # seconds that a request waits for another one of the same device
MAX_PLACES = 4  # each large request takes up to 250 MB
LARGE_BODY = 64 * 1024  # bytes; a push with a larger body is large


def places_for(threads: int) -> int:
    """Return how many threads of a worker large requests can take. One thread stays free."""
    return max(1, min(threads - 1, MAX_PLACES))


class Busy(Throttled):
    """Another sync is running (429). The client can retry after a second."""

    def __init__(self):
        super().__init__(wait=1, detail="Another sync is running.", code="busy")


class SyncLimiter:
    """Admits one push or pull of each device at a time. Large and waiting requests take at most `places` threads.

    The other threads stay free for light requests, including small pushes and pulls.
    """

    def __init__(self, places: int):
        self.places = places
        self.condition = Condition()
        self.running: dict[UUID, RunningSync] = {}  # by device
        self.large = 0
        self.waiting: list[object] = []  # the one that has waited longest comes first

    @contextmanager
    def admit(self, device_id: UUID) -> "Iterator[RunningSync]":
        """Let a push or pull of the device run inside this block. Raise Busy if another one doesn't end in time."""
        with self.condition:
            if device_id in self.running:
                self.wait(device_id)
            sync = self.running[device_id] = RunningSync(self)
        try:
            yield sync
        finally:
            with self.condition:
                del self.running[device_id]
                self.large -= sync.is_large
                self.condition.notify_all()

    def wait(self, device_id: UUID) -> None:
        """Wait for the device's other request. Raise Busy if no place is free to wait, or if it doesn't end in time.

        Here a small request counts too, because it and the waiting one must leave a thread free.
        """
        is_small = not self.running[device_id].is_large
        if self.large + len(self.waiting) + is_small >= self.places:
            raise Busy
        waiter = object()
        self.waiting.append(waiter)
        self.condition.wait_for(lambda: device_id not in self.running or waiter not in self.waiting, WAIT_TIMEOUT)
        if waiter not in self.waiting:  # a large request took its place
            raise Busy
        self.waiting.remove(waiter)
        if device_id in self.running:
            raise Busy

    @property
    def is_full(self) -> bool:
        return self.large + len(self.waiting) >= self.places


class RunningSync:
    """A running push or pull. It is small until `become_large()` is called."""

    def __init__(self, limiter: SyncLimiter):
        self.limiter = limiter
        self.is_large = False

    def become_large(self) -> None:
        """Take a place for a large request, if necessary that of a waiting one. Raise Busy if none is free."""
        with self.limiter.condition:
            if self.is_large:
                return
            if self.limiter.is_full:
                if not self.limiter.waiting:
                    raise Busy
                self.limiter.waiting.pop(0)
                self.limiter.condition.notify_all()
            self.limiter.large += 1
            self.is_large = True


class RowCount:
    """Counts the rows that a request reads. Calls `on_large` once, as soon as they are more than `limit`."""

    def __init__(self, limit: int, on_large: Callable[[], None]):
        self.limit, self.on_large = limit, on_large
        self.rows = 0

    def add(self, rows: int) -> None:
        was_large = self.rows > self.limit
        self.rows += rows
        if self.rows > self.limit and not was_large:
            self.on_large()


sync_limiter = SyncLimiter(places_for(threads=3))  # gunicorn.conf.py sets the real number of threads
