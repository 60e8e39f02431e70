"""The settings of the project, with the lines that a new app adds."""

from countonme.settings import *  # noqa: F403
from countonme.settings import DATABASES, INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "ownership.tests.notebook"]
ROOT_URLCONF = "ownership.tests.notebook.project_urls"
MAX_NOTES = 1000
MAX_LINES = 10_000

# The test run that starts this one is using the usual test database.
if DATABASES["default"]["ENGINE"] == "countonme.db.postgresql":
    DATABASES["default"]["TEST"] = {"NAME": f"test_{DATABASES['default']['NAME']}_notebook"}
