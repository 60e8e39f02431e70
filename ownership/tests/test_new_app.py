import os
import subprocess
import sys

import pytest
from django.conf import settings

NOTEBOOK = "ownership/tests/notebook"


class TestANewApp:
    @pytest.mark.direct
    def test_needs_its_folder_a_line_in_the_settings_and_an_include(self):
        """Run the tests of the notebook where its settings install it: no other file knows of it."""
        environment = os.environ | {"DJANGO_SETTINGS_MODULE": f"{NOTEBOOK.replace('/', '.')}.settings"}

        run = subprocess.run(
            [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--show-capture=no", NOTEBOOK],
            cwd=settings.BASE_DIR,
            env=environment,
            capture_output=True,
            text=True,
        )

        assert run.returncode == 0, run.stdout + run.stderr
