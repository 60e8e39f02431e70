import os
import subprocess
import sys

import pytest
from django.conf import settings
from django.db import connection

NOTEBOOK = "ownership/tests/notebook"

# So that `-m postgres` runs it too, and with it those tests of the notebook that have this mark.
pytestmark = [pytest.mark.postgres] if connection.vendor == "postgresql" else []


class TestANewApp:
    def test_needs_its_folder_a_line_in_the_settings_and_one_in_the_urls(self, pytestconfig):
        """Run the tests of the notebook where its settings install it: no other file knows of it."""
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
