"""Issue, parse and check tokens. The only file that knows bcrypt.

A token is `{device_id}.{secret}`: the row is found by primary key, and the database holds only a bcrypt hash of the
secret, 256 random bits.
"""

import re
import secrets
from functools import cache
from hashlib import blake2b
from uuid import UUID

import bcrypt
from django.conf import settings

from devices import verdicts

# bcrypt takes at most 72 bytes. A secret has 43 characters, and nothing else gets as far as bcrypt.
TOKEN = re.compile(r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\.([A-Za-z0-9_-]{43})")


def issue(device_id: UUID) -> tuple[str, str]:
    """Return a new token and the hash of its secret."""
    secret = secrets.token_urlsafe(32)
    secret_hash = bcrypt.hashpw(secret.encode(), bcrypt.gensalt(settings.BCRYPT_ROUNDS))
    return f"{device_id}.{secret}", secret_hash.decode()


def parse(token: str) -> UUID | None:
    """Return the id of the device that the token speaks for; None if it is malformed."""
    match = TOKEN.fullmatch(token)
    return UUID(match[1]) if match else None


def is_remembered(token: str, secret_hash: str) -> bool:
    """Say whether the token was found good with this hash before."""
    return verdicts.known(verdict(token, secret_hash))


def check(token: str, secret_hash: str) -> bool:
    """Say, by bcrypt, whether the well-formed token's secret has this hash, and remember it if so.

    Only a success is remembered: a flood of wrong secrets pushes nothing out.
    """
    if not bcrypt.checkpw(token.rpartition(".")[2].encode(), secret_hash.encode()):
        return False
    remember_good(token, secret_hash)
    return True


def remember_good(token: str, secret_hash: str) -> None:
    verdicts.remember(verdict(token, secret_hash))


def verdict(token: str, secret_hash: str) -> str:
    """Return what a verdict is remembered under: the token and the hash together.

    So it dies with the hash, in every worker, with nothing to invalidate.
    """
    return blake2b(f"{token}{secret_hash}".encode(), key=verdict_key(settings.SECRET_KEY), digest_size=32).hexdigest()


@cache
def verdict_key(secret: str) -> bytes:
    return blake2b(f"verdict {secret}".encode()).digest()
