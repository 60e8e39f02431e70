"""How rates are written in settings."""

from functools import lru_cache

PERIODS = {"s": 1, "m": 60, "h": 60 * 60, "d": 24 * 60 * 60}


@lru_cache(maxsize=64)
def parse_rate(text: str) -> tuple[int, int]:
    """Return how often, in how many seconds: `10/min` is (10, 60)."""
    number, _, period = text.partition("/")
    return int(number), PERIODS[period[0]]
