"""Rate limit of all requests per device, in each worker's memory."""

from collections import OrderedDict
from functools import lru_cache
from threading import Lock
from time import monotonic
from uuid import UUID

from django.conf import settings

PERIODS = {"s": 1, "m": 60, "h": 60 * 60, "d": 24 * 60 * 60}
MAX_DEVICES = 10_000  # about 2 MB. A device over its rate is never among the least recently used ones.
ROUNDING = 0.001  # seconds. Without it, inexact sums of floats could refuse the last request of a burst.


@lru_cache(maxsize=64)
def parse_rate(text: str) -> tuple[int, int]:
    """Return a number of requests and a period in seconds: `10/min` is (10, 60)."""
    number, _, period = text.partition("/")
    return int(number), PERIODS[period[0]]


class DeviceRates:
    """The generic cell rate algorithm. It stores the theoretical arrival time of each device's next request.

    Each request adds the same part of the period to that time, which may be at most one period ahead. So a device can
    send the whole number of requests in a burst, and then evenly as many as the rate allows.
    """

    def __init__(self):
        self.arrival_at: OrderedDict[bytes, float] = OrderedDict()  # the least recently used device first
        self.lock = Lock()

    def wait(self, device_id: UUID) -> float | None:
        """Count a request and return None. Over the rate, count nothing and return the seconds to wait."""
        number, period = parse_rate(settings.DEVICE_RATE)
        cost = period / number
        key = device_id.bytes  # bytes cache their hash
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
