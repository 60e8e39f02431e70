import pytest

from sync.turns import Turns


class SeparateWorkers:
    """Gives each request its own `Turns`, as if each ran in another worker."""

    def turn(self, device_id):
        return Turns(places=1).turn(device_id)


@pytest.fixture
def separate_workers(monkeypatch) -> None:
    """Let concurrent requests of one device wait for each other in the database instead of in the worker."""
    monkeypatch.setattr("sync.views.turns", SeparateWorkers())
