"""A secret that is shown once, on the page after a redirect. So reloading that page doesn't repeat the action.

The session holds the secret XOR random bytes, and a cookie of the browser holds these bytes. Each half alone is random:
neither the database, nor a backup of it, nor the browser's files reveal the secret.
"""

from hashlib import sha256
from secrets import token_bytes
from time import time

from django.conf import settings
from django.http import HttpRequest, HttpResponse

COOKIE = "shown-once"
KEY = "shown_once"  # in the session
MAX_AGE = 120  # seconds


def store(request: HttpRequest, response: HttpResponse, secret: str, path: str) -> None:
    """Store a secret for the page at this path, to which the response redirects."""
    pad = token_bytes(len(secret.encode())).hex()
    half = xor(secret.encode(), bytes.fromhex(pad)).hex()
    request.session[KEY] = {"half": half, "pad_hash": hash_of(pad), "path": path, "expires": time() + MAX_AGE}
    response.set_cookie(
        COOKIE,
        pad,
        max_age=MAX_AGE,
        path=path,
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Strict",
    )


def take(request: HttpRequest) -> str | None:
    """Return the secret for this page, and forget it. Return None if there is none, or it was shown before."""
    stored, pad = request.session.get(KEY), request.COOKIES.get(COOKIE, "")
    if stored is None or stored["path"] != request.path or stored["pad_hash"] != hash_of(pad):
        return None
    del request.session[KEY]
    if time() > stored["expires"]:
        return None
    return xor(bytes.fromhex(stored["half"]), bytes.fromhex(pad)).decode()


def hash_of(pad: str) -> str:
    return sha256(pad.encode()).hexdigest()


def xor(left: bytes, right: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(left, right, strict=True))
