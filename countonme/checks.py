"""System checks: errors and warnings about unsafe settings."""

import os
import re
import sys
from importlib.metadata import version
from pathlib import Path

from django.conf import settings
from django.core.checks import Error, Tags, Warning, register

TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]{20,}")
RATES = ("REGISTER_RATE", "ROTATE_RATE", "AUTH_FAILURE_RATE", "DEVICE_RATE", "LOGIN_FAILURE_RATE")
RATE = re.compile(r"[1-9][0-9]*/(s|sec|m|min|h|hour|d|day)")


# docs/internals.md lists the undocumented names of these that the service uses. A new version may change them.
DEPENDENCIES = ("Django", "djangorestframework", "psycopg", "gunicorn", "drf-spectacular", "prometheus-client")
PIN = re.compile(r"^([\w-]+)(?:\[\w+\])?==(\d+\.\d+)", re.MULTILINE)


@register(Tags.compatibility)
def check_tested_versions(app_configs, **kwargs) -> list:
    tested = dict(PIN.findall(Path(settings.BASE_DIR, "requirements.txt").read_text()))
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
def check_bcrypt_rounds(app_configs, **kwargs) -> list:
    if 4 <= settings.BCRYPT_ROUNDS <= 31:
        return []
    return [
        Error("BCRYPT_ROUNDS is not between 4 and 31.", hint="Leave it out: the default is 4.", id="countonme.E001")
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


@register(Tags.security)
def check_rates(app_configs, **kwargs) -> list:
    return [
        Error(f"{name} is not a valid rate.", hint="Use the form 10/min.", id="countonme.E002")
        for name in RATES
        if not RATE.fullmatch(getattr(settings, name))
    ]


@register(Tags.security)
def check_backup_retention(app_configs, **kwargs) -> list:
    if 1 <= settings.BACKUP_RETENTION <= 99_999:  # as in deploy/backup.sh
        return []
    return [
        Error(
            "BACKUP_RETENTION is not between 1 and 99999.",
            hint="Leave it out: the default is 14 days.",
            id="countonme.E013",
        )
    ]


@register(Tags.security)
def check_num_proxies(app_configs, **kwargs) -> list:
    if settings.REST_FRAMEWORK["NUM_PROXIES"] >= 0:
        return []
    hint = "Set it to the number of proxies in front of the service."
    return [Error("NUM_PROXIES is negative.", hint=hint, id="countonme.E003")]


@register(Tags.security)
def check_database_timeout(app_configs, **kwargs) -> list:
    if settings.DATABASE_TIMEOUT == 0 or 0.1 <= settings.DATABASE_TIMEOUT <= 60:
        return []
    return [
        Error(
            "DATABASE_TIMEOUT is neither 0 nor between 0.1 and 60 seconds.",
            hint="Leave it out: the default is 1.5.",
            id="countonme.E004",
        )
    ]


@register(Tags.security)
def check_metrics_token(app_configs, **kwargs) -> list:
    if not settings.METRICS_TOKEN or TOKEN.fullmatch(settings.METRICS_TOKEN):
        return []
    return [
        Error(
            "METRICS_TOKEN is shorter than 20 characters, or has characters that are not allowed in a bearer token.",
            hint='Set it to the output of: python -c "import secrets; print(secrets.token_urlsafe(32))"',
            id="countonme.E010",
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
    file = Path(settings.ERASURE_LEDGER)
    if os.access(file if file.exists() else file.parent, os.W_OK):
        return []
    return [
        Warning(
            "ERASURE_LEDGER is not writable: a restore from a backup would bring erased devices back.",
            hint="Set it to a file in a folder where the service can write.",
            id="countonme.W003",
        )
    ]


@register(Tags.security, deploy=True)
def check_hosts(app_configs, **kwargs) -> list:
    if "*" not in settings.ALLOWED_HOSTS:
        return []
    return [Warning("ALLOWED_HOSTS allows every host.", hint="List the hosts of the service.", id="countonme.W002")]
