import pytest

from sync.limiter import SyncLimiter


class SeparateWorkers:
    """Gives each request its own `SyncLimiter`, as if each ran in another worker."""

    def admit(self, device_id):
        return SyncLimiter(places=1).admit(device_id)


@pytest.fixture
def separate_workers(monkeypatch) -> None:
    """Let concurrent requests of one device wait for each other in the database instead of in the worker."""
    monkeypatch.setattr("sync.views.sync_limiter", SeparateWorkers())
