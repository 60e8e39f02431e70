import pytest

from sync.turns import Turns


class SeparateWorkers:
    """Gives each request turns of its own, as if each came to another worker."""

    def turn(self, device_id):
        return Turns(places=1).turn(device_id)


@pytest.fixture
def separate_workers(monkeypatch) -> None:
    """Let requests of one device that come at once meet in the database, and not in the worker."""
    monkeypatch.setattr("sync.views.turns", SeparateWorkers())
