from types import SimpleNamespace

import bcrypt
import pytest

from devices import throttling


@pytest.fixture
def bcrypt_runs(monkeypatch) -> list:
    """The secrets that bcrypt is asked to check, each time that it is."""
    runs, checkpw = [], bcrypt.checkpw

    def counted(secret, secret_hash):
        runs.append(secret)
        return checkpw(secret, secret_hash)

    monkeypatch.setattr(bcrypt, "checkpw", counted)
    return runs


@pytest.fixture
def clock(monkeypatch):
    """The time that the limits read; it stands still until it is moved."""
    clock = SimpleNamespace(now=1_800_000_000.0)
    monkeypatch.setattr(throttling, "time", SimpleNamespace(time=lambda: clock.now))
    return clock
