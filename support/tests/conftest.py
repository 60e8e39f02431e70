import pytest
from django.contrib.auth.models import User
from django.test import Client

from devices.tests.conftest import bcrypt_runs, clock  # noqa: F401 - fixtures


@pytest.fixture
def root(db) -> Client:
    """The browser of a superuser, who has logged in."""
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    return client
