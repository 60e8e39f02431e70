"""How often one caller may do what is limited, in every worker together."""

import time
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.utils.crypto import salted_hmac
from rest_framework.throttling import BaseThrottle

from countonme.prepared import Prepared, once_more
from devices.models import Attempts

PERIODS = {"s": 1, "m": 60, "h": 60 * 60, "d": 24 * 60 * 60}


@dataclass(frozen=True)
class Limit:
    """Something that one caller may do as often as a setting says, such as `10/min`.

    DRF's own limits read a list from the cache and write it back: two requests at once count as one, and with a cache
    in each process every worker counts apart. Here the history is a row that is locked while it is judged.
    The caller is kept as a keyed hash only, and for as long as it counts.
    """

    scope: str
    setting: str

    def take(self, caller: str) -> float | None:
        """Count it and return None; where it is once too often, count nothing and return the seconds to wait."""
        once_more(lambda: Attempts.objects.forget(before=time.time()))
        with transaction.atomic():
            attempts, now = Attempts.objects.locked(self.key(caller)), time.time()
            moments, wait = self.judged(attempts.moments, now)
            if wait is None:
                attempts.moments, attempts.expires_at = [now, *moments], now + self.rate[1]
                attempts.save()
        return wait

    def wait(self, caller: str) -> float | None:
        """Return the seconds until the caller may do it again; None if that is now. One read by primary key."""
        found = moments_of(key=self.key(caller))
        return self.judged(found[0][0], time.time())[1] if found else None

    def judged(self, moments: list[float], now: float) -> tuple[list[float], float | None]:
        """Return the moments that count, and the seconds until there may be one more."""
        number, period = self.rate
        recent = [moment for moment in moments if moment > now - period][:number]  # the limit may have been higher
        return recent, recent[-1] + period - now if len(recent) == number else None

    @property
    def rate(self) -> tuple[int, int]:
        """How often, in how many seconds."""
        number, _, period = getattr(settings, self.setting).partition("/")
        return int(number), PERIODS[period[0]]

    def key(self, caller: str) -> str:
        return salted_hmac("devices.throttling", f"{self.scope} {caller}", algorithm="sha256").hexdigest()


@Prepared
def moments_of(key) -> QuerySet:
    return Attempts.objects.filter(pk=key).values_list("moments")


REGISTRATIONS = Limit("register", "REGISTER_RATE")
# Each wrong token costs a run of bcrypt.
GUESSES = Limit("guess", "AUTH_FAILURE_RATE")


class RegistrationThrottle(BaseThrottle):
    """Limit the registrations from one address."""

    def allow_request(self, request, view) -> bool:
        self.seconds = REGISTRATIONS.take(address_of(request)) if request.method == "POST" else None
        return self.seconds is None

    def wait(self) -> float | None:
        return self.seconds


def address_of(request) -> str:
    """Return the client's address, as `NUM_PROXIES` says; of IPv6 its network, /64, which one client may have."""
    text = BaseThrottle().get_ident(request) or ""
    if text.startswith("["):  # some proxies append the port
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text)
    except ValueError:
        return text
    if address.version == 6:
        return str(address.ipv4_mapped or ip_network((int(address) >> 64 << 64, 64)))
    return str(address)
