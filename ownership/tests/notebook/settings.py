"""The project's settings, and the lines that a new app adds to them."""

from countonme.settings import *  # noqa: F403
from countonme.settings import DATABASES, INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "ownership.tests.notebook"]
ROOT_URLCONF = "ownership.tests.notebook.project_urls"
MAX_NOTES = 1000
MAX_LINES = 10_000

# The run that starts this one is still using its own test database.
if DATABASES["default"]["ENGINE"] == "countonme.db.postgresql":
    DATABASES["default"]["TEST"] = {"NAME": f"test_{DATABASES['default']['NAME']}_notebook"}
