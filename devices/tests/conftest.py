import bcrypt
import pytest


@pytest.fixture
def bcrypt_runs(monkeypatch) -> list:
    """The secrets that bcrypt is asked to check, each time that it is."""
    runs, checkpw = [], bcrypt.checkpw

    def counted(secret, secret_hash):
        runs.append(secret)
        return checkpw(secret, secret_hash)

    monkeypatch.setattr(bcrypt, "checkpw", counted)
    return runs
