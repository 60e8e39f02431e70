"""Limit how many pushes and pulls run at once in a worker, so that a light request always finds a thread.

docs/decisions/0016-large-syncs-leave-one-thread-free.md explains the rules.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Condition
from uuid import UUID

from rest_framework.exceptions import Throttled

PATIENCE = 1.0  # seconds that a request waits for another one of the same device
MAX_PLACES = 4  # each large request takes up to 250 MB
LARGE_BODY = 64 * 1024  # bytes of a push from which on it is large


def places_for(threads: int) -> int:
    """Return how many threads of a worker large requests may take: one is left to the others."""
    return max(1, min(threads - 1, MAX_PLACES))


class Busy(Throttled):
    """The request may be sent again after a second (429)."""

    def __init__(self):
        super().__init__(wait=1, detail="Another sync is running.", code="busy")


class Turns:
    """One push or pull of a device at a time; large ones, and those that wait, take at most `places` threads.

    The other threads are left to light requests: small pushes and pulls are among those.
    """

    def __init__(self, places: int):
        self.places = places
        self.condition = Condition()
        self.running: dict[UUID, Turn] = {}  # by device
        self.large = 0
        self.waiting: list[object] = []  # the longest one first

    @contextmanager
    def turn(self, device_id: UUID) -> "Iterator[Turn]":
        """Run a push or pull of the device inside of this block; raise Busy if another one doesn't end in time."""
        with self.condition:
            if device_id in self.running:
                self.wait(device_id)
            turn = self.running[device_id] = Turn(self)
        try:
            yield turn
        finally:
            with self.condition:
                del self.running[device_id]
                self.large -= turn.is_large
                self.condition.notify_all()

    def wait(self, device_id: UUID) -> None:
        """Wait for the end of the device's other request; raise Busy if there is no place to wait, or no end.

        If the other request is small, it counts as well here: the two must leave a thread free.
        """
        is_small = not self.running[device_id].is_large
        if self.large + len(self.waiting) + is_small >= self.places:
            raise Busy
        waiter = object()
        self.waiting.append(waiter)
        self.condition.wait_for(lambda: device_id not in self.running or waiter not in self.waiting, PATIENCE)
        if waiter not in self.waiting:  # its place was needed
            raise Busy
        self.waiting.remove(waiter)
        if device_id in self.running:
            raise Busy

    @property
    def is_full(self) -> bool:
        return self.large + len(self.waiting) >= self.places


class Turn:
    """A push or pull that runs. It is small until it says otherwise."""

    def __init__(self, turns: Turns):
        self.turns = turns
        self.is_large = False

    def become_large(self) -> None:
        """Take a place among the large ones; raise Busy if all are taken. A request that only waits gives way."""
        with self.turns.condition:
            if self.is_large:
                return
            if self.turns.is_full:
                if not self.turns.waiting:
                    raise Busy
                self.turns.waiting.pop(0)
                self.turns.condition.notify_all()
            self.turns.large += 1
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


turns = Turns(places_for(threads=3))  # gunicorn.conf.py says how many threads a worker really has
