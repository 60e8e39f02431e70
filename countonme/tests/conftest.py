import json
import logging
from io import StringIO

import pytest
from django.db import connections

from countonme.observability.log_format import JSONFormatter


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
