from collections.abc import Callable
from io import StringIO

import pytest
from django.core.management import call_command


@pytest.fixture
def erase() -> Callable[..., str]:
    """Return a function that runs `manage.py erase` with some options and returns its output."""

    def run(*options: str) -> str:
        out = StringIO()
        call_command("erase", *options, stdout=out)
        return out.getvalue()

    return run
