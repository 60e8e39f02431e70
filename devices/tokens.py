"""Issue, parse and check tokens. No other module uses bcrypt.

A token is `{device_id}.{secret}`. So its row is found by primary key. The secret has 256 random bits, and the database
stores only a bcrypt hash of it.
"""

import re
import secrets
from functools import cache
from hashlib import blake2b
from uuid import UUID

import bcrypt
from django.conf import settings

from devices import token_cache

# bcrypt accepts at most 72 bytes. A secret has 43 characters, and no other string reaches bcrypt.
TOKEN = re.compile(r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\.([A-Za-z0-9_-]{43})")


def issue(device_id: UUID) -> tuple[str, str]:
    """Return a new token and the hash of its secret."""
    secret = secrets.token_urlsafe(32)
    secret_hash = bcrypt.hashpw(secret.encode(), bcrypt.gensalt(settings.BCRYPT_ROUNDS))
    return f"{device_id}.{secret}", secret_hash.decode()


def parse(token: str) -> UUID | None:
    """Return the device's id from the token, or None if the token is malformed."""
    match = TOKEN.fullmatch(token)
    return UUID(match[1]) if match else None


def is_remembered(token: str, secret_hash: str) -> bool:
    """Return whether the token was valid for this hash before."""
    return token_cache.is_known(cache_key(token, secret_hash))


def check(token: str, secret_hash: str) -> bool:
    """Return whether the well-formed token's secret has this hash, by bcrypt. Remember a success.

    Failures are not remembered, so that many wrong secrets evict no valid token.
    """
    if not bcrypt.checkpw(token.rpartition(".")[2].encode(), secret_hash.encode()):
        return False
    remember_valid(token, secret_hash)
    return True


def remember_valid(token: str, secret_hash: str) -> None:
    token_cache.remember(cache_key(token, secret_hash))


def cache_key(token: str, secret_hash: str) -> str:
    """Return the cache key of a valid token: a digest of the token and the stored hash.

    If the stored hash changes, so does the key. So no worker has to invalidate anything.
    """
    return blake2b(f"{token}{secret_hash}".encode(), key=digest_key(settings.SECRET_KEY), digest_size=32).hexdigest()


@cache
def digest_key(secret: str) -> bytes:
    return blake2b(f"verdict {secret}".encode()).digest()
