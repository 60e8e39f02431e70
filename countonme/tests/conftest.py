import logging
from io import StringIO

import pytest
from django.db import connections

from countonme.tests.served import live_database


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
def log():
    """What the service writes to its log, in the form that it has there."""
    (console,) = [handler for handler in logging.root.handlers if handler.get_name() == "console"]
    lines = StringIO()
    stderr = console.setStream(lines)
    yield lines
    console.setStream(stderr)


@pytest.fixture(scope="session")
def live_url(django_db_setup, tmp_path_factory):
    """The URL of a migrated database for a service in processes of its own."""
    with live_database(tmp_path_factory.mktemp("live")) as url:
        yield url
