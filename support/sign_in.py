"""The login page of the admin, with rate limits and without account enumeration."""

from collections.abc import Sequence
from math import ceil
from secrets import token_urlsafe

from django.conf import settings
from django.contrib import admin
from django.contrib.admin.forms import AdminAuthenticationForm
from django.core.exceptions import ValidationError
from django.db.models import Q
from django.http import HttpResponse

from devices.models import Attempts
from devices.throttling import Limit, networks_of, networks_of_address
from ownership.plural import pluralize


class BrowserLimit(Limit):
    """A limit for browsers from which a user has signed in. The keys of one user begin with the same 32 digits."""

    def key(self, name: str) -> str:
        _, _, user = name.partition(" ")
        return self.prefix(user) + super().key(name)[32:]

    def prefix(self, user: str) -> str:
        return super().key(user)[:32]


BY_ADDRESS = Limit("sign in from", "LOGIN_FAILURE_RATE")
BY_NAME = Limit("sign in as", "LOGIN_FAILURE_RATE")
BY_BROWSER = BrowserLimit("sign in as", "LOGIN_FAILURE_RATE")

COOKIE = "known"  # set in browsers from which a user has signed in
COOKIE_AGE = 180 * 24 * 60 * 60  # seconds


class SignInForm(AdminAuthenticationForm):
    """Django's login form with rate limits. Wrong names and wrong passwords get the same response in the same time.

    Failures are counted by address and by name, even if there is no such user. So an attacker can lock a name. The
    failures of a browser from which this user has signed in before are counted separately, so that the owner can still
    sign in there.
    """

    def clean(self) -> dict:
        if not (self.cleaned_data.get("username") and self.cleaned_data.get("password")):
            return super().clean()
        limits = self.limits(self.cleaned_data["username"].casefold())
        if waits := [wait for limit, caller in limits if (wait := limit.wait(caller)) is not None]:
            self.request.seconds_to_wait = ceil(max(waits))
            minutes = pluralize(ceil(self.request.seconds_to_wait / 60), "minute")
            raise ValidationError(f"Too many attempts. Try again in {minutes}.", "throttled")
        try:
            return super().clean()
        except ValidationError:
            for limit, caller in limits:
                limit.count(caller)
            raise

    def limits(self, name: str) -> list[tuple[Limit, Sequence[str]]]:
        """Return the limits that a failure counts for, each with its caller."""
        known = self.request.get_signed_cookie(COOKIE, default="", salt=COOKIE, max_age=COOKIE_AGE)
        if known.partition(" ")[2] == name:
            return [(BY_BROWSER, (known,))]
        return [(BY_ADDRESS, networks_of(self.request)), (BY_NAME, (name,))]


admin.site.login_form = SignInForm


def forget_failures_of(name: str) -> int:
    """Remove the failures that count for a name, in all browsers. Return how many counts were removed."""
    name = name.casefold()
    counted = Attempts.objects.filter(Q(pk=BY_NAME.key(name)) | Q(pk__startswith=BY_BROWSER.prefix(name)))
    return counted.delete()[0]


def forget_failures_from(address: str) -> int:
    """Remove the failures that count for an address and its networks. Return how many counts were removed."""
    keys = [BY_ADDRESS.key(network) for network in networks_of_address(address)]
    return Attempts.objects.filter(pk__in=keys).delete()[0]


def sign_in(request) -> HttpResponse:
    """Return the admin's login page, with `429` over the limit."""
    response = admin.site.login(request)
    if wait := getattr(request, "seconds_to_wait", None):
        response.status_code = 429
        response.headers["Retry-After"] = str(wait)
    elif request.method == "POST" and request.user.is_authenticated:
        response.set_signed_cookie(
            COOKIE,
            f"{token_urlsafe(16)} {request.user.get_username().casefold()}",
            salt=COOKIE,
            max_age=COOKIE_AGE,
            path=settings.SESSION_COOKIE_PATH,
            secure=settings.SESSION_COOKIE_SECURE,
            httponly=True,
            samesite=settings.SESSION_COOKIE_SAMESITE,
        )
    return response
