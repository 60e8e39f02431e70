"""Rate limits that all workers share, with counts in the database."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from math import ceil

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.utils.crypto import salted_hmac
from rest_framework.throttling import BaseThrottle

from countonme.db.availability import retry_if_connection_died
from countonme.db.compiled import compiled_query
from devices.models import Attempts
from devices.rates import parse_rate

NETWORKS = (64, 56, 48)  # prefix lengths that providers assign to one client
TIER_FACTOR = 10
SLOTS = 60  # per period of a wide tier


@dataclass(frozen=True)
class Limit:
    """A rate limit per caller. A setting has its rate, such as `10/min`.

    DRF's throttles read a list from the cache and write it back. Then two concurrent requests can count as one, and
    with one cache per process, each worker counts separately. Here the history is a database row, which is locked while
    the limit is checked. The caller is stored as a keyed hash, until its requests no longer count.

    A caller is a sequence of tiers, the narrowest first, such as the networks of an address. Each wider tier has ten
    times the limit of the tier before. A request counts in all tiers or in none.
    """

    scope: str
    setting: str

    def count(self, caller: Sequence[str]) -> float | None:
        """Count one request and return None. Over the limit, count nothing and return the seconds to wait.

        Over the limit, there are only reads. Every request locks the narrowest tier first, to avoid deadlocks.
        """
        if (wait := self.wait(caller)) is not None:
            return wait
        Attempts.objects.remove_some_expired(before=time.time())
        with transaction.atomic():
            locked = [(tier, Attempts.objects.lock(tier.key)) for tier in self.tiers(caller)]
            now = time.time()
            wait = max_wait(tier.wait(attempts.moments, now) for tier, attempts in locked)
            if wait is None:
                for tier, attempts in locked:
                    attempts.moments, attempts.expires_at = tier.add(attempts.moments, now)
                    attempts.save()
        return wait

    def wait(self, caller: Sequence[str]) -> float | None:
        """Return the seconds until the next request is within the limit, or None if it is now. One read per tier."""
        tiers = self.tiers(caller)
        found = retry_if_connection_died(lambda: [moments_of.tuples(key=tier.key) for tier in tiers])
        now = time.time()
        return max_wait(tier.wait(rows[0][0], now) for tier, rows in zip(tiers, found, strict=True) if rows)

    def tiers(self, caller: Sequence[str]) -> "list[Tier]":
        number, period = parse_rate(getattr(settings, self.setting))
        return [
            Tier(self.key(name), number * TIER_FACTOR**width, period, is_wide=width > 0)
            for width, name in enumerate(caller)
        ]

    def key(self, name: str) -> str:
        return salted_hmac("devices.throttling", f"{self.scope} {name}", algorithm="sha256").hexdigest()


@dataclass(frozen=True)
class Tier:
    """At most `number` requests in any `period` of seconds. A history is a list, the latest request first.

    The narrowest tier is exact: its history has the time of each request. A wide tier allows up to a hundred times as
    many requests. So its history has pairs of the end of a slot and the number of requests in it. A slot is a sixtieth
    of the period. Each request counts until its slot has left the period. So a wide tier never allows more than
    `number` requests, but a caller may wait up to one slot longer.
    """

    key: str
    number: int
    period: int
    is_wide: bool

    def wait(self, history: list, now: float) -> float | None:
        """Return the seconds until one more request is within the limit, or None if it is now."""
        counted = self.recent(history, now)
        over = sum(count for _, count in counted) + 1 - self.number
        for moment, count in reversed(counted):
            if over <= 0:
                break
            over -= count
            if over <= 0:  # the next request is allowed when this one no longer counts
                return moment + self.period - now
        return None

    def add(self, history: list, now: float) -> tuple[list, float]:
        """Return the history with one more request, and the time from which none of them counts."""
        counted = self.recent(history, now)
        if not self.is_wide:
            return [now, *(moment for moment, _ in counted)], now + self.period
        slot = self.period / SLOTS
        end = ceil(now / slot) * slot
        if counted and counted[0][0] >= end:
            (end, count), *counted = counted
            return [(end, count + 1), *counted], end + self.period
        return [(end, 1), *counted], end + self.period

    def recent(self, history: list, now: float) -> list[tuple[float, int]]:
        """Return the requests that still count, as pairs of a time and a number of requests."""
        pairs = history if self.is_wide else ((moment, 1) for moment in history)
        return [(moment, count) for moment, count in pairs if moment > now - self.period]


def max_wait(waits) -> float | None:
    return max((wait for wait in waits if wait is not None), default=None)


@compiled_query
def moments_of(key) -> QuerySet:
    return Attempts.objects.filter(pk=key).values_list("moments")


REGISTRATIONS = Limit("register", "REGISTER_RATE")
ROTATIONS = Limit("rotate", "ROTATE_RATE")
FAILED_CHECKS = Limit("failed check", "AUTH_FAILURE_RATE")


class LimitThrottle(BaseThrottle):
    """A throttle of a view's `POST` requests. Subclasses set `limit` and override `caller()`."""

    limit: Limit

    def allow_request(self, request, view) -> bool:
        self.seconds = self.limit.count(self.caller(request)) if request.method == "POST" else None
        return self.seconds is None

    def wait(self) -> float | None:
        return self.seconds

    def caller(self, request) -> Sequence[str]:
        raise NotImplementedError


class RegistrationThrottle(LimitThrottle):
    """Limits the registrations per address. If registrations are closed, there is nothing to limit."""

    limit = REGISTRATIONS

    def allow_request(self, request, view) -> bool:
        return settings.REGISTER_RATE is None or super().allow_request(request, view)

    def caller(self, request) -> Sequence[str]:
        return networks_of(request)


class RotationThrottle(LimitThrottle):
    """Limits the rotations per device, because each one runs bcrypt."""

    limit = ROTATIONS

    def caller(self, request) -> Sequence[str]:
        return (str(request.user.pk),)


def networks_of(request) -> tuple[str, ...]:
    """Return the networks of the client's address. `NUM_PROXIES` applies."""
    text = BaseThrottle().get_ident(request) or ""
    if text.startswith("["):  # some proxies append the port
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    return networks_of_address(text)


def networks_of_address(text: str) -> tuple[str, ...]:
    """Return an IPv4 address itself, and the networks of an IPv6 address, the narrowest first.

    One client may have a whole /64, and often has a /56 or a /48.
    """
    try:
        address = ip_address(text)
    except ValueError:
        return (text,)
    if address.version == 4:
        return (str(address),)
    if address.ipv4_mapped:
        return (str(address.ipv4_mapped),)
    return tuple(str(ip_network((int(address), length), strict=False)) for length in NETWORKS)
