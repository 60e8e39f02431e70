import tests.harness.environment  # noqa: F401, I001 - must come before anything reads the settings

import os
import shutil

import pytest
from django.db import connection

from tests.harness import verification

pytest_plugins = ["tests.harness.fixtures"]
verification.enable_if_requested()


def pytest_collection_modifyitems(items):
    """Skip the tests that this machine or database can't run."""
    missing = {
        "postgres": connection.vendor != "postgresql" and "needs PostgreSQL",
        "direct": os.environ.get("DATABASE_POOLER") and "needs direct connections",
        "browser": not all(map(shutil.which, ("chromium", "chromedriver"))) and "needs chromium and chromedriver",
    }
    for item in items:
        for marker, reason in missing.items():
            if reason and item.get_closest_marker(marker):
                item.add_marker(pytest.mark.skip(reason=reason))
