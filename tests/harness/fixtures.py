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
from rest_framework.test import APIClient

from countonme.observability.log_format import JSONFormatter
from devices import throttling, verdicts
from devices.models import Device
from ownership.models import owned_models
from support.group import grant, permission_names
from tests.harness import verification
from tests.harness.client import DeviceClient
from tests.harness.service import live_database


@pytest.fixture(scope="session")
def ledger(tmp_path_factory) -> Path:
    """The ledger of erasures that all tests share: it is removed before each of them."""
    return tmp_path_factory.mktemp("ledger") / "erasures.txt"


@pytest.fixture(autouse=True)
def _as_new(settings, ledger):
    """Let no test see what another one left in a cache, or in the ledger of erasures."""
    settings.ERASURE_LEDGER = str(ledger)
    ledger.unlink(missing_ok=True)
    settings.WHITENOISE_AUTOREFRESH = True  # each new client would read every static file
    verdicts.here.clear()
    for cache in caches.all(initialized_only=True):
        cache.clear()


@pytest.fixture
def unverified():
    """Let compiled queries run alone, for a test that measures time or memory."""
    with verification.turned_off():
        yield


@pytest.fixture
def anonymous() -> APIClient:
    return APIClient()


@pytest.fixture
def api(db) -> DeviceClient:
    return DeviceClient(Device.objects.register(uuid4()))


@pytest.fixture
def device(api) -> Device:
    """The device that `api` speaks for."""
    return Device.objects.get(pk=api.token.partition(".")[0])


@pytest.fixture
def stranger(db) -> DeviceClient:
    """Another device's client."""
    return DeviceClient(Device.objects.register(uuid4()))


@pytest.fixture
def other(stranger) -> Device:
    """The device that `stranger` speaks for."""
    return Device.objects.get(pk=stranger.token.partition(".")[0])


@pytest.fixture
def support_group(db) -> Group:
    """The group Support, as migrations create it."""
    if not Group.objects.filter(name="Support").exists():  # a test of several transactions empties all tables
        import_module("countonme.migrations.0001_support_group").make_group(apps)
        for model in owned_models():
            grant(apps, model._meta.app_label, model._meta.model_name, permission_names(model))
    return Group.objects.get(name="Support")


@pytest.fixture
def support(support_group) -> Client:
    """The browser of a member of support, who has logged in."""
    member = User.objects.create_user("ada", is_staff=True)
    member.groups.add(support_group)
    client = Client()
    client.force_login(member)
    return client


@pytest.fixture
def everything(db) -> Callable[[], list]:
    """Return a function that reads all that is stored, live or not: a refused request leaves it as it was."""

    def read() -> list:
        rows = [list(model.all_objects.order_by("pk").values()) for model in owned_models()]
        return [*rows, list(Device.objects.order_by("pk").values("pk", "revision"))]

    return read


@pytest.fixture(scope="session")
def live_url(django_db_setup, tmp_path_factory):
    """The URL of a migrated database for a service in processes of its own."""
    with live_database(tmp_path_factory.mktemp("live")) as url:
        yield url


@pytest.fixture
def database_away(db):
    """Point the service at a database that is not there: a closed port, or a folder that no file is in."""
    here = connections["default"]
    away = connections.create_connection("default")
    nowhere = {"NAME": "/nowhere/db.sqlite3"} if away.vendor == "sqlite" else {"HOST": "127.0.0.1", "PORT": "1"}
    away.settings_dict = {**away.settings_dict, **nowhere}
    connections["default"] = away
    yield
    connections["default"] = here


@pytest.fixture
def console():
    """The one handler that writes the log."""
    (console,) = [handler for handler in logging.root.handlers if handler.get_name() == "console"]
    stream, formatter = console.stream, console.formatter
    yield console
    console.setStream(stream)
    console.setFormatter(formatter)


@pytest.fixture
def log(console):
    """What the service writes to its log, as a terminal shows it."""
    lines = StringIO()
    console.setStream(lines)
    return lines


@pytest.fixture
def json_log(console, log):
    """Return a function that reads the log as machines do: a list of objects, one a line."""
    console.setFormatter(JSONFormatter())
    return lambda: [json.loads(line) for line in log.getvalue().splitlines()]


@pytest.fixture
def bcrypt_runs(monkeypatch) -> list:
    """The secrets that bcrypt is asked to check, each time that it is."""
    runs, checkpw = [], bcrypt.checkpw

    def counted(secret, secret_hash):
        runs.append(secret)
        return checkpw(secret, secret_hash)

    monkeypatch.setattr(bcrypt, "checkpw", counted)
    return runs


@pytest.fixture
def clock(monkeypatch):
    """The time that the limits read; it stands still until it is moved."""
    clock = SimpleNamespace(now=1_800_000_000.0)
    monkeypatch.setattr(throttling, "time", SimpleNamespace(time=lambda: clock.now))
    return clock


@pytest.fixture
def root(db) -> Client:
    """The browser of a superuser, who has logged in."""
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    return client
