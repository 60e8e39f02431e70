"""The login page of the admin, with a second factor, with rate limits, and without account enumeration."""

from collections.abc import Sequence
from http import HTTPStatus
from math import ceil
from secrets import token_urlsafe
from urllib.parse import quote, unquote

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.contrib.admin.forms import AdminAuthenticationForm
from django.core.exceptions import ValidationError
from django.db.models import Q
from django.http import HttpResponse
from django.shortcuts import redirect

from devices.models import Attempts
from devices.throttling import Limit, networks_of, networks_of_address
from ownership.plural import pluralize
from support.second_factor import authenticator_of, is_recovery_code, must_set_up, use_code


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


class CodeInput(forms.TextInput):
    def format_value(self, value) -> None:
        """Show an empty field after an error: a code works once."""


class CodeField(forms.CharField):
    """A code of the second factor, or of an authenticator app that is being set up."""

    def __init__(self, label: str = "Code", *, autofocus: bool = False, **options):
        attrs = {"autocomplete": "one-time-code", "autocapitalize": "none", "spellcheck": "false"}
        attrs |= {"autofocus": True} if autofocus else {}
        super().__init__(label=label, max_length=40, widget=CodeInput(attrs), **options)


class RateLimitedForm(forms.Form):
    """Mixin: a form with secrets that can be guessed. Wrong ones are counted by address and by name.

    An attacker can lock a name. The failures of a browser from which this user has signed in before are counted
    separately, so that the owner can still sign in there.
    """

    def check_limits(self, name: str) -> None:
        """Refuse the form if there were too many failures."""
        if waits := [wait for limit, caller in self.limits(name) if (wait := limit.wait(caller)) is not None]:
            self.request.seconds_to_wait = ceil(max(waits))
            minutes = pluralize(ceil(self.request.seconds_to_wait / 60), "minute")
            raise ValidationError(f"Too many attempts. Try again in {minutes}.", "throttled")

    def count_failure(self, name: str) -> None:
        for limit, caller in self.limits(name):
            limit.count(caller)

    def limits(self, name: str) -> list[tuple[Limit, Sequence[str]]]:
        """Return the limits that a failure counts for, each with its caller."""
        name = name.casefold()
        known = unquote(self.request.get_signed_cookie(COOKIE, default="", salt=COOKIE, max_age=COOKIE_AGE))
        if known.partition(" ")[2] == name:
            return [(BY_BROWSER, (known,))]
        return [(BY_ADDRESS, networks_of(self.request)), (BY_NAME, (name,))]


class SignInForm(RateLimitedForm, AdminAuthenticationForm):
    """Django's login form with a code and rate limits. The code may be empty if the user has no second factor.

    A wrong name, password or code gets the same response, so that nobody learns whether the password was right. Names
    that don't exist take as long as others, and are counted too.
    """

    error_messages = {
        **AdminAuthenticationForm.error_messages,
        "invalid_login": "Please enter the correct %(username)s and password for a staff account, and a code that you "
        "have not used yet, if you have set up a second factor. The first two may be case-sensitive.",
    }

    code = CodeField(
        required=False, help_text="From your authenticator app, or a recovery code. Empty if you have set up none."
    )

    def clean(self) -> dict:
        if not (self.cleaned_data.get("username") and self.cleaned_data.get("password")):
            return super().clean()
        name = self.cleaned_data["username"]
        self.check_limits(name)
        try:
            cleaned = super().clean()
            self.check_code(self.get_user())
        except ValidationError:
            self.count_failure(name)
            raise
        return cleaned

    def check_code(self, user) -> None:
        """If the user has a second factor, check the code. Signing in then marks the session as verified."""
        if authenticator_of(user) is None:
            return
        code = self.cleaned_data.get("code", "")
        user.otp_device = use_code(user, code)
        if user.otp_device is None:
            raise self.get_invalid_login_error()
        if is_recovery_code(code):
            left = pluralize(user.recovery_codes.count(), "recovery code")
            messages.warning(self.request, f"You have {left} left. Do you still have your authenticator app?")


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
    """Return the admin's login page, with `429` over the limit. Staff who must set up a second factor get that page."""
    if request.method == "GET" and must_set_up(request.user):
        return redirect("admin:set_up_second_factor")
    response = say_when_to_retry(request, admin.site.login(request))
    if request.method == "POST" and response.status_code == HTTPStatus.FOUND:
        response.set_signed_cookie(
            COOKIE,
            quote(f"{token_urlsafe(16)} {request.user.get_username().casefold()}"),  # a header has no other letters
            salt=COOKIE,
            max_age=COOKIE_AGE,
            path=settings.SESSION_COOKIE_PATH,
            secure=settings.SESSION_COOKIE_SECURE,
            httponly=True,
            samesite=settings.SESSION_COOKIE_SAMESITE,
        )
    return response


def say_when_to_retry(request, response: HttpResponse) -> HttpResponse:
    """Make the response a `429` if a form of the request was over its limits."""
    if wait := getattr(request, "seconds_to_wait", None):
        response.status_code = 429
        response.headers["Retry-After"] = str(wait)
    return response
