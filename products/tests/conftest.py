from collections.abc import Callable

import pytest

from devices.models import Device
from devices.owned import owned_models


@pytest.fixture
def other(stranger) -> Device:
    """The device that `stranger` speaks for."""
    return Device.objects.get(pk=stranger.token.partition(".")[0])


@pytest.fixture
def everything(db) -> Callable[[], list]:
    """Return a function that reads all that is stored, live or not: a refused request leaves it as it was."""

    def read() -> list:
        rows = [list(model.all_objects.order_by("pk").values()) for model in owned_models()]
        return [*rows, list(Device.objects.order_by("pk").values("pk", "revision"))]

    return read
