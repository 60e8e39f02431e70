import countonme.tests.environment  # noqa: F401, I001 - before anything reads the settings

import os
import shutil
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from uuid import uuid4

import pytest
from django.apps import apps
from django.contrib.auth.models import Group, User
from django.core.cache import caches
from django.db import connection
from django.test import Client
from rest_framework.test import APIClient

from countonme.tests.served import live_database
from devices import verdicts
from devices.models import Device
from ownership.models import owned_models
from support.group import grant, permission_names


def pytest_collection_modifyitems(items):
    """Leave out what this machine can't show: without PostgreSQL no two connections write at the same moment."""
    missing = {
        "postgres": connection.vendor != "postgresql" and "needs PostgreSQL",
        "direct": os.environ.get("DATABASE_POOLER") and "needs connections of its own",
        "browser": not all(map(shutil.which, ("chromium", "chromedriver"))) and "needs chromium and chromedriver",
    }
    for item in items:
        for marker, reason in missing.items():
            if reason and item.get_closest_marker(marker):
                item.add_marker(pytest.mark.skip(reason=reason))


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


class Phone(APIClient):
    """A client of the API that speaks for one device."""

    def __init__(self, token: str, **kwargs):
        super().__init__(**kwargs)
        self.use(token)

    def use(self, token: str) -> None:
        self.token = token
        self.credentials(HTTP_AUTHORIZATION=f"Bearer {token}")


@pytest.fixture
def anonymous() -> APIClient:
    return APIClient()


@pytest.fixture
def api(db) -> Phone:
    return Phone(Device.objects.register(uuid4()))


@pytest.fixture
def device(api) -> Device:
    """The device that `api` speaks for."""
    return Device.objects.get(pk=api.token.partition(".")[0])


@pytest.fixture
def stranger(db) -> Phone:
    """Another device's client."""
    return Phone(Device.objects.register(uuid4()))


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
