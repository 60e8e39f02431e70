"""The database in management commands."""

from django.core.management.base import CommandError
from django.db import OperationalError

from countonme.environment import OTHER_USER


def connect_or_stop(connection) -> None:
    """Connect to the database. If that fails, raise a CommandError of one line, which needs no traceback."""
    try:
        connection.ensure_connection()
    except OperationalError as error:
        raise CommandError(f"The database can't be reached: {' '.join(str(error).split())}. {OTHER_USER}") from error
