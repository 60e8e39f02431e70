"""Remembered verdicts on tokens, so that bcrypt is asked once for each.

A worker remembers what it has found out, and tells it to the cache that all workers share, where there is one. That is
asked for tokens alone that the worker does not know: a phone that it knows never waits for it.
"""

import logging
from collections import OrderedDict
from threading import Lock
from time import monotonic

from django.core.cache import caches
from django.core.cache.backends.locmem import LocMemCache

KEPT_FOR = 24 * 60 * 60  # seconds
KEPT_AT_MOST = 100_000
PAUSE = 1.0  # seconds

log = logging.getLogger(__name__)


def known(verdict: str) -> bool:
    if here.knows(verdict):
        return True
    if not shared.ask("get", verdict):
        return False
    here.add(verdict)
    return True


def remember(verdict: str) -> None:
    here.add(verdict)
    shared.ask("set", verdict, 1, KEPT_FOR)


class Here:
    """What this worker remembers: those that it met last, each for a day.

    Django's own cache in memory takes ten times as long to say so, at every request.
    """

    def __init__(self):
        self.until: OrderedDict[str, float] = OrderedDict()
        self.lock = Lock()

    def knows(self, verdict: str) -> bool:
        with self.lock:
            if self.until.get(verdict, 0) <= monotonic():
                return False
            self.until.move_to_end(verdict)
            return True

    def add(self, verdict: str) -> None:
        with self.lock:
            self.until[verdict] = monotonic() + KEPT_FOR
            self.until.move_to_end(verdict)
            if len(self.until) > KEPT_AT_MOST:
                self.until.popitem(last=False)

    def clear(self) -> None:
        with self.lock:
            self.until.clear()


class SharedCache:
    """The cache that all workers share, if there is one. While it is away, it knows nothing.

    One that hangs takes a quarter of a second a question: one that did not answer is left alone for a while.
    """

    def __init__(self):
        self.away_until = 0.0

    def ask(self, method: str, verdict: str, *args):
        cache = caches["default"]
        if isinstance(cache, LocMemCache) or monotonic() < self.away_until:
            return None
        try:
            return getattr(cache, method)(f"verdict:{verdict}", *args)
        except Exception:  # noqa: BLE001 - whatever a cache raises that is away, it is a miss
            self.away_until = monotonic() + PAUSE
            log.warning("The cache does not respond; it is not used for a second")
            return None


here, shared = Here(), SharedCache()
