"""Authenticator apps in tests, and the pages that staff use them with."""

import re
from base64 import b32decode
from html import unescape
from types import SimpleNamespace

from django.contrib.auth.models import User
from django.test import Client
from django_otp.oath import TOTP

PASSWORD = "a-long-passw0rd"
LOGIN, OWN, SET_UP, CODES = (
    f"/admin/{page}" for page in ("login/", "second-factor/", "second-factor/set-up/", "second-factor/recovery-codes/")
)


def text(response) -> str:
    return unescape(response.content.decode())


def log_in(name: str = "ada", code: str = "", password: str = PASSWORD, address: str = "192.0.2.1", browser=None):
    sent = {"username": name, "password": password, "code": code, "next": "/admin/"}
    return (browser or Client()).post(LOGIN, sent, REMOTE_ADDR=address)


def shown_secret(response) -> str:
    return re.search(r'<code class="secret">([A-Z2-7]+)</code>', text(response))[1]


def shown_codes(response) -> list[str]:
    return re.findall(r"<code>([a-z2-7-]+)</code>", text(response))


class App:
    """An authenticator app on a phone. It shows the code of the clock's time, which doesn't move by itself."""

    def __init__(self, clock: SimpleNamespace, secret: str):
        self.clock, self.secret = clock, secret

    @property
    def code(self) -> str:
        totp = TOTP(b32decode(self.secret))
        totp.time = self.clock.now
        return f"{totp.token():06d}"

    @property
    def next_code(self) -> str:
        self.clock.now += 30
        return self.code


class Member:
    """A member of staff who has set up a second factor."""

    def __init__(self, clock: SimpleNamespace, name: str = "ada"):
        self.user = User.objects.create_superuser(name, password=PASSWORD)
        self.browser = Client()
        log_in(name, browser=self.browser)
        self.app = App(clock, shown_secret(self.browser.get(SET_UP)))
        self.codes = shown_codes(self.browser.post(SET_UP, {"new_code": self.app.code}))
        assert len(self.codes) == 10
