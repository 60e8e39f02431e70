"""Rate limits that all workers share: their counts are in the database."""

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

NETWORKS = (64, 56, 48)  # prefix lengths: what providers give to one client
TIER_FACTOR = 10
SLOTS = 60  # of a wide tier's period


@dataclass(frozen=True)
class Limit:
    """Something that one caller may do as often as a setting says, such as `10/min`.

    DRF's own throttles read a list from the cache and write it back: two requests at once count as one, and with a
    cache in each process every worker counts for itself. Here the history is a row, which is locked while the limit is
    checked. A caller is stored as a keyed hash only, and only while it counts.

    A caller is a sequence of tiers, the narrowest first, such as the networks of an address. Each wider tier has ten
    times the limit of the one before. A request counts in all tiers or in none.
    """

    scope: str
    setting: str

    def take(self, caller: Sequence[str]) -> float | None:
        """Count one request and return None; over the limit, count nothing and return the seconds to wait.

        A caller that is over the limit costs reads alone. Every request locks the narrowest tier first, so that no
        two requests wait for each other.
        """
        if (wait := self.wait(caller)) is not None:
            return wait
        Attempts.objects.forget(before=time.time())
        with transaction.atomic():
            locked = [(tier, Attempts.objects.locked(tier.key)) for tier in self.tiers(caller)]
            now = time.time()
            wait = longest(tier.wait(attempts.moments, now) for tier, attempts in locked)
            if wait is None:
                for tier, attempts in locked:
                    attempts.moments, attempts.expires_at = tier.add(attempts.moments, now)
                    attempts.save()
        return wait

    def wait(self, caller: Sequence[str]) -> float | None:
        """Return the seconds until the caller may do it again; None if that is now. One read for each tier."""
        tiers = self.tiers(caller)
        found = retry_if_connection_died(lambda: [moments_of.tuples(key=tier.key) for tier in tiers])
        now = time.time()
        return longest(tier.wait(rows[0][0], now) for tier, rows in zip(tiers, found, strict=True) if rows)

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
    """At most `number` requests in any `period` of seconds. A history is a list, the latest first.

    The narrowest tier is exact: its history has the moment of each request. A wide tier has a hundred times as many,
    so that its history has pairs: the end of a slot, a sixtieth of the period, and the number of requests in it. Each
    request counts until its slot has left the period. So a wide tier never lets more through than its number says,
    and may keep a caller waiting longer, by one slot at most.
    """

    key: str
    number: int
    period: int
    is_wide: bool

    def wait(self, history: list, now: float) -> float | None:
        """Return the seconds until one more request is within the limit; None if it is now."""
        counted = self.recent(history, now)
        over = sum(count for _, count in counted) + 1 - self.number
        for moment, count in reversed(counted):
            if over <= 0:
                break
            over -= count
            if over <= 0:  # one more fits when this one no longer counts
                return moment + self.period - now
        return None

    def add(self, history: list, now: float) -> tuple[list, float]:
        """Return the history with one more request, and the moment from which none of it counts."""
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
        """Return what still counts, as pairs of a moment and a number of requests."""
        pairs = history if self.is_wide else ((moment, 1) for moment in history)
        return [(moment, count) for moment, count in pairs if moment > now - self.period]


def longest(waits) -> float | None:
    return max((wait for wait in waits if wait is not None), default=None)


@compiled_query
def moments_of(key) -> QuerySet:
    return Attempts.objects.filter(pk=key).values_list("moments")


REGISTRATIONS = Limit("register", "REGISTER_RATE")
ROTATIONS = Limit("rotate", "ROTATE_RATE")
FAILED_CHECKS = Limit("failed check", "AUTH_FAILURE_RATE")


class LimitThrottle(BaseThrottle):
    """Limit the `POST` requests of a view. Subclasses set `limit` and say who the caller is."""

    limit: Limit

    def allow_request(self, request, view) -> bool:
        self.seconds = self.limit.take(self.caller(request)) if request.method == "POST" else None
        return self.seconds is None

    def wait(self) -> float | None:
        return self.seconds

    def caller(self, request) -> Sequence[str]:
        raise NotImplementedError


class RegistrationThrottle(LimitThrottle):
    """Limit the registrations from one address."""

    limit = REGISTRATIONS

    def caller(self, request) -> Sequence[str]:
        return networks_of(request)


class RotationThrottle(LimitThrottle):
    """Limit the rotations of one device, each of which runs bcrypt."""

    limit = ROTATIONS

    def caller(self, request) -> Sequence[str]:
        return (str(request.user.pk),)


def networks_of(request) -> tuple[str, ...]:
    """Return the client's address, as `NUM_PROXIES` says; of IPv6 its networks, the narrowest first.

    One client may have a whole /64, and often has a /56 or a /48.
    """
    text = BaseThrottle().get_ident(request) or ""
    if text.startswith("["):  # some proxies append the port
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text)
    except ValueError:
        return (text,)
    if address.version == 4:
        return (str(address),)
    if address.ipv4_mapped:
        return (str(address.ipv4_mapped),)
    return tuple(str(ip_network((int(address), length), strict=False)) for length in NETWORKS)
