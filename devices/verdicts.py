"""Remembered verdicts on tokens, so that bcrypt is asked once for each.

A worker remembers what it has found out, and tells it to the cache that all workers share, where there is one. That is
asked for tokens alone that the worker does not know: a phone that it knows never waits for it.
"""

import logging
from time import monotonic

from django.core.cache import caches
from django.core.cache.backends.locmem import LocMemCache

PAUSE = 1.0  # seconds

log = logging.getLogger(__name__)


def known(verdict: str) -> bool:
    here = caches["verdicts"]
    if here.get(verdict):
        return True
    if not shared.ask("get", verdict):
        return False
    here.set(verdict, 1)
    return True


def remember(verdict: str) -> None:
    here = caches["verdicts"]
    here.set(verdict, 1)
    shared.ask("set", verdict, 1, here.default_timeout)


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
            log.warning("The cache does not answer; it is left alone for a second")
            return None


shared = SharedCache()
