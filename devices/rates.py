"""Bound the requests of one device: a rate limit in each worker's memory, at no query and about a microsecond."""

from collections import OrderedDict
from functools import lru_cache
from threading import Lock
from time import monotonic
from uuid import UUID

from django.conf import settings

PERIODS = {"s": 1, "m": 60, "h": 60 * 60, "d": 24 * 60 * 60}
MAX_DEVICES = 10_000  # some 2 MB. A device that calls too often is never among the least recently used.
ROUNDING = 0.001  # seconds. Sums of floats are not exact, and must not refuse the last request of a burst.


@lru_cache(maxsize=64)
def parse_rate(text: str) -> tuple[int, int]:
    """Return how often, in how many seconds: `10/min` is (10, 60)."""
    number, _, period = text.partition("/")
    return int(number), PERIODS[period[0]]


class DeviceRates:
    """The generic cell rate algorithm: it stores the theoretical arrival time of each device's next request.

    Each request moves that time on by an equal part of the period. It may be one period ahead at most: so a device can
    send the whole number of requests at once, and then as many as the rate allows, evenly.
    """

    def __init__(self):
        self.arrival_at: OrderedDict[bytes, float] = OrderedDict()  # the least recently used device first
        self.lock = Lock()

    def wait(self, device_id: UUID) -> float | None:
        """Count a request and return None; over the rate, count nothing and return the seconds to wait."""
        number, period = parse_rate(settings.DEVICE_RATE)
        cost = period / number
        key = device_id.bytes  # which remembers its hash
        with self.lock:
            now = monotonic()
            arrival_at = max(self.arrival_at.get(key, now), now) + cost
            wait = arrival_at - now - period
            if wait > ROUNDING:
                return wait
            self.arrival_at[key] = arrival_at
            self.arrival_at.move_to_end(key)
            if len(self.arrival_at) > MAX_DEVICES:
                self.arrival_at.popitem(last=False)
        return None


device_rates = DeviceRates()
