"""Cache of valid tokens, so that bcrypt runs once for each.

Each worker has a cache in memory. If the workers share a cache such as Redis, a worker writes there too, and reads it
only for tokens that its own cache lacks. So a device that the worker knows never waits for the shared cache.
"""

import logging
from collections import OrderedDict
from threading import Lock
from time import monotonic

from django.core.cache import caches
from django.core.cache.backends.locmem import LocMemCache

LIFETIME = 24 * 60 * 60  # seconds
MAX_TOKENS = 100_000
PAUSE = 1.0  # seconds

log = logging.getLogger(__name__)


def is_known(key: str) -> bool:
    if local_cache.has(key):
        return True
    if not shared_cache.call("get", key):
        return False
    local_cache.add(key)
    return True


def remember(key: str) -> None:
    local_cache.add(key)
    shared_cache.call("set", key, 1, LIFETIME)


class LocalCache:
    """This worker's cache of valid tokens: the most recently used ones, each for a day.

    Django's LocMemCache would pickle the value and validate the key, at every request.
    """

    def __init__(self):
        self.expires_at: OrderedDict[str, float] = OrderedDict()
        self.lock = Lock()

    def has(self, key: str) -> bool:
        with self.lock:
            if self.expires_at.get(key, 0) <= monotonic():
                return False
            self.expires_at.move_to_end(key)
            return True

    def add(self, key: str) -> None:
        with self.lock:
            self.expires_at[key] = monotonic() + LIFETIME
            self.expires_at.move_to_end(key)
            if len(self.expires_at) > MAX_TOKENS:
                self.expires_at.popitem(last=False)

    def clear(self) -> None:
        with self.lock:
            self.expires_at.clear()


class SharedCache:
    """The cache that all workers share, if there is one. While it is unavailable, each call is a miss.

    A cache that hangs costs a timeout of 0.25 seconds per call. So after an error, it is not called for a second.
    """

    def __init__(self):
        self.paused_until = 0.0

    def call(self, method: str, key: str, *args):
        cache = caches["default"]
        if isinstance(cache, LocMemCache) or monotonic() < self.paused_until:
            return None
        try:
            return getattr(cache, method)(f"token:{key}", *args)
        except Exception:  # noqa: BLE001 - each backend raises its own errors
            self.paused_until = monotonic() + PAUSE
            log.warning("The cache does not respond; it is not used for a second")
            return None


local_cache, shared_cache = LocalCache(), SharedCache()
