import os
import subprocess
import sys

import pytest
from django.conf import settings
from django.db import connection

NOTEBOOK = "ownership/tests/notebook"

# With this mark, `-m postgres` also runs the tests of the notebook that have it.
pytestmark = [pytest.mark.postgres] if connection.vendor == "postgresql" else []


class TestNewApp:
    def test_needs_only_its_folder_a_setting_and_its_urls(self, pytestconfig):
        """Run the tests of the notebook with its own settings, since no other file refers to it."""
        environment = os.environ | {"DJANGO_SETTINGS_MODULE": f"{NOTEBOOK.replace('/', '.')}.settings"}
        options = ["-p", "no:cacheprovider", "--show-capture=no", "-m", pytestconfig.getoption("markexpr")]
        if pytestconfig.getoption("reuse_db"):
            options.append("--reuse-db")

        run = subprocess.run(
            [sys.executable, "-m", "pytest", *options, NOTEBOOK],
            cwd=settings.BASE_DIR,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

        if run.returncode != 0:
            pytest.fail(f"The tests of {NOTEBOOK} fail:\n{run.stdout}", pytrace=False)
