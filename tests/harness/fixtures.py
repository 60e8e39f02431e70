"""Fixtures for the tests of all apps."""

import json
import logging
from collections.abc import Callable
from importlib import import_module
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from uuid import uuid4

import bcrypt
import pytest
from django.apps import apps
from django.contrib.auth.models import Group, User
from django.core.cache import caches
from django.db import connections
from django.test import Client
from django_otp.plugins.otp_totp import models as otp_totp
from rest_framework.test import APIClient

from catalog.models import CatalogFood, CatalogRelease
from countonme.observability.log_format import JSONFormatter
from devices import throttling, token_cache
from devices.models import Device
from ownership.models import owned_models
from support.group import grant, permission_names
from tests.harness import verification
from tests.harness.client import DeviceClient
from tests.harness.service import live_database


@pytest.fixture(scope="session")
def ledger(tmp_path_factory) -> Path:
    """The ledger of erasures that all tests share. It is deleted before each test."""
    return tmp_path_factory.mktemp("ledger") / "erasures.txt"


@pytest.fixture(autouse=True)
def _as_new(settings, ledger):
    """Clear the caches and the ledger of erasures before each test."""
    settings.ERASURE_LEDGER = str(ledger)
    ledger.unlink(missing_ok=True)
    settings.WHITENOISE_AUTOREFRESH = True  # otherwise each new client reads every static file
    token_cache.local_cache.clear()
    for cache in caches.all(initialized_only=True):
        cache.clear()


@pytest.fixture
def unverified_queries():
    """Don't compare compiled queries with the ORM, for a test that measures time or memory."""
    with verification.disable():
        yield


@pytest.fixture
def anonymous() -> APIClient:
    return APIClient()


@pytest.fixture
def api(db) -> DeviceClient:
    return DeviceClient(Device.objects.register(uuid4()))


@pytest.fixture
def device(api) -> Device:
    """The device of `api`."""
    return Device.objects.get(pk=api.token.partition(".")[0])


@pytest.fixture
def other_api(db) -> DeviceClient:
    """Another device's client."""
    return DeviceClient(Device.objects.register(uuid4()))


@pytest.fixture
def other_device(other_api) -> Device:
    """The device of `other_api`."""
    return Device.objects.get(pk=other_api.token.partition(".")[0])


@pytest.fixture
def support_group(db) -> Group:
    """The Support group, as migrations create it."""
    if not Group.objects.filter(name="Support").exists():  # a test with transaction=True empties all tables
        import_module("countonme.migrations.0001_support_group").make_group(apps)
        for model in owned_models():
            grant(apps, model._meta.app_label, model._meta.model_name, permission_names(model))
        for model in (CatalogFood, CatalogRelease):
            grant(apps, "catalog", model._meta.model_name, permission_names(model, ("view",)))
    return Group.objects.get(name="Support")


@pytest.fixture
def support(support_group) -> Client:
    """The client of a logged-in member of the Support group."""
    member = User.objects.create_user("ada", is_staff=True)
    member.groups.add(support_group)
    client = Client()
    client.force_login(member)
    return client


@pytest.fixture
def all_rows(db) -> Callable[[], list]:
    """Return a function that reads all stored rows, tombstones included, to check that a request changed nothing."""

    def read() -> list:
        rows = [list(model.all_objects.order_by("pk").values()) for model in owned_models()]
        return [*rows, list(Device.objects.order_by("pk").values("pk", "revision"))]

    return read


@pytest.fixture(scope="session")
def live_url(django_db_setup, tmp_path_factory):
    """The URL of a migrated database for a service that runs in other processes."""
    with live_database(tmp_path_factory.mktemp("live")) as url:
        yield url


@pytest.fixture
def unreachable_database(db):
    """Connect the service to a database that doesn't exist: a closed port, or a file in a missing folder."""
    here = connections["default"]
    away = connections.create_connection("default")
    nowhere = {"NAME": "/nowhere/db.sqlite3"} if away.vendor == "sqlite" else {"HOST": "127.0.0.1", "PORT": "1"}
    away.settings_dict = {**away.settings_dict, **nowhere}
    connections["default"] = away
    yield
    connections["default"] = here


@pytest.fixture
def console():
    """The logging handler that writes the log."""
    (console,) = [handler for handler in logging.root.handlers if handler.get_name() == "console"]
    stream, formatter = console.stream, console.formatter
    yield console
    console.setStream(stream)
    console.setFormatter(formatter)


@pytest.fixture
def log(console):
    """The log of the service, in text format."""
    lines = StringIO()
    console.setStream(lines)
    return lines


@pytest.fixture
def json_log(console, log):
    """Return a function that reads the log in JSON format and returns a list with one object for each line."""
    console.setFormatter(JSONFormatter())
    return lambda: [json.loads(line) for line in log.getvalue().splitlines()]


@pytest.fixture
def bcrypt_runs(monkeypatch) -> list:
    """The secrets that bcrypt has checked, one for each call."""
    runs, checkpw = [], bcrypt.checkpw

    def counted(secret, secret_hash):
        runs.append(secret)
        return checkpw(secret, secret_hash)

    monkeypatch.setattr(bcrypt, "checkpw", counted)
    return runs


@pytest.fixture
def clock(monkeypatch):
    """The clock of the rate limits. It doesn't move unless the test sets `now`."""
    clock = SimpleNamespace(now=1_800_000_000.0)
    monkeypatch.setattr(throttling, "time", SimpleNamespace(time=lambda: clock.now))
    return clock


@pytest.fixture
def authenticator_clock(monkeypatch):
    """The clock of the codes of authenticator apps. It doesn't move unless the test sets `now`."""
    clock = SimpleNamespace(now=1_800_000_000.0)
    monkeypatch.setattr(otp_totp, "time", SimpleNamespace(time=lambda: clock.now))
    return clock


@pytest.fixture
def root(db) -> Client:
    """The client of a logged-in superuser."""
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    return client
