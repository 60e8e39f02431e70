"""The admin's log-in: who guesses a password is told nothing, and not often."""

from collections.abc import Sequence
from math import ceil
from secrets import token_urlsafe

from django.conf import settings
from django.contrib import admin
from django.contrib.admin.forms import AdminAuthenticationForm
from django.core.exceptions import ValidationError
from django.http import HttpResponse

from devices.throttling import Limit, networks_of

BY_ADDRESS = Limit("sign in from", "LOGIN_FAILURE_RATE")
BY_NAME = Limit("sign in as", "LOGIN_FAILURE_RATE")

KNOWN = "known"  # a cookie: somebody has signed in from this browser
KNOWN_FOR = 180 * 24 * 60 * 60  # seconds


class SignInForm(AdminAuthenticationForm):
    """Django's form, which has one answer for a wrong name and a wrong password, and takes the same time for both.

    Failures are counted, by address and by name, whether or not there is such a name. Whoever keeps guessing a name
    would lock out its owner: so a browser that this name has signed in from before is counted for itself.
    """

    def clean(self) -> dict:
        if not (self.cleaned_data.get("username") and self.cleaned_data.get("password")):
            return super().clean()
        counts = self.counts(self.cleaned_data["username"].casefold())
        if waits := [wait for limit, caller in counts if (wait := limit.wait(caller)) is not None]:
            self.request.seconds_to_wait = ceil(max(waits))
            raise ValidationError(
                f"Too many attempts. Try again in {self.request.seconds_to_wait} seconds.", "throttled"
            )
        try:
            return super().clean()
        except ValidationError:
            for limit, caller in counts:
                limit.count(caller)
            raise

    def counts(self, name: str) -> list[tuple[Limit, Sequence[str]]]:
        """Return where a failure counts: each limit with its caller."""
        known = self.request.get_signed_cookie(KNOWN, default="", salt=KNOWN, max_age=KNOWN_FOR)
        if known.partition(" ")[2] == name:
            return [(BY_NAME, (known,))]
        return [(BY_ADDRESS, networks_of(self.request)), (BY_NAME, (name,))]


admin.site.login_form = SignInForm


def sign_in(request) -> HttpResponse:
    """Answer the admin's log-in page, with `429` where somebody has to wait."""
    response = admin.site.login(request)
    if wait := getattr(request, "seconds_to_wait", None):
        response.status_code = 429
        response.headers["Retry-After"] = str(wait)
    elif request.method == "POST" and request.user.is_authenticated:
        response.set_signed_cookie(
            KNOWN,
            f"{token_urlsafe(16)} {request.user.get_username().casefold()}",
            salt=KNOWN,
            max_age=KNOWN_FOR,
            path=settings.SESSION_COOKIE_PATH,
            secure=settings.SESSION_COOKIE_SECURE,
            httponly=True,
            samesite=settings.SESSION_COOKIE_SAMESITE,
        )
    return response
