"""System checks: errors and warnings about unsafe settings."""

import re
import sys
from importlib.metadata import version
from pathlib import Path

from django.conf import settings
from django.core.checks import Error, Tags, Warning, register

from countonme.environment import is_writable_file

# docs/internals.md lists the undocumented names of these that the service uses. A new version may change them.
DEPENDENCIES = ("Django", "djangorestframework", "psycopg", "gunicorn", "drf-spectacular", "prometheus-client")
PIN = re.compile(r"^([\w-]+)(?:\[\w+\])?==(\d+\.\d+)", re.MULTILINE)


@register(Tags.compatibility)
def check_tested_versions(app_configs, **kwargs) -> list:
    pinned = dict(PIN.findall(Path(settings.BASE_DIR, "requirements.txt").read_text()))
    tested = {name: pinned[name.lower()] for name in DEPENDENCIES}
    installed = {name: ".".join(version(name).split(".")[:2]) for name in DEPENDENCIES}
    return [
        Warning(
            f"{name} {installed[name]} is installed. The service was tested with {name} {tested[name]}.",
            hint="Install requirements.txt. After an upgrade, run the tests that docs/internals.md names.",
            id="countonme.W004",
        )
        for name in DEPENDENCIES
        if installed[name] != tested[name]
    ]


@register(Tags.security)
def check_hash_seed(app_configs, **kwargs) -> list:
    if sys.flags.hash_randomization:
        return []
    return [
        Error(
            "PYTHONHASHSEED is 0: clients can choose ids that collide in every dict.",
            hint="Remove it from the environment.",
            id="countonme.E011",
        )
    ]


@register(Tags.security, deploy=True)
def check_database(app_configs, **kwargs) -> list:
    if settings.DATABASES["default"]["ENGINE"] == "countonme.db.postgresql":
        return []
    return [
        Warning(
            "The database is not PostgreSQL.",
            hint="Set DATABASE_URL. With SQLite, one request can write at a time, and there can be one machine only.",
            id="countonme.W001",
        )
    ]


@register(Tags.security, deploy=True)
def check_erasure_ledger(app_configs, **kwargs) -> list:
    if is_writable_file(settings.ERASURE_LEDGER):
        return []
    return [
        Error(
            "ERASURE_LEDGER is not writable: a restore from a backup would bring erased devices back.",
            hint="Set it to a file in a folder where the service can write, and run this check as the service's user.",
            id="countonme.E012",
        )
    ]


@register(Tags.security, deploy=True)
def check_hosts(app_configs, **kwargs) -> list:
    if "*" not in settings.ALLOWED_HOSTS:
        return []
    return [Warning("ALLOWED_HOSTS allows every host.", hint="List the hosts of the service.", id="countonme.W002")]


@register(Tags.security, deploy=True)
def check_second_factor(app_configs, **kwargs) -> list:
    if settings.STAFF_SECOND_FACTOR == "required":
        return []
    return [
        Warning(
            "STAFF_SECOND_FACTOR is optional: staff may log in to the admin with a password only.",
            hint="Set it to required, which is the default if HTTPS_ONLY is on.",
            id="countonme.W005",
        )
    ]
