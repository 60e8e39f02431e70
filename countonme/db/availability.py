"""Whether the database is there: which errors mean that it is not, and one retry on a new connection."""

import re
from collections.abc import Callable

from django.db import DEFAULT_DB_ALIAS, InterfaceError, OperationalError, connections

DATABASE_AWAY = (OperationalError, InterfaceError)
OUR_MISTAKE = re.compile(r"no such (table|column|function)|has no column|syntax error")  # SQLite's OperationalErrors
# PostgreSQL's codes for ending one statement. The database is there, and so is the connection.
QUERY_CANCELED, LOCK_NOT_AVAILABLE = "57014", "55P03"


def code_of(error: BaseException) -> str | None:
    """Return PostgreSQL's code of an error that Django has wrapped."""
    return getattr(error.__cause__, "sqlstate", None)


def is_away(error: BaseException | None) -> bool:
    """Return whether the error means that the database is away, and not that one statement failed."""
    return (
        isinstance(error, DATABASE_AWAY)
        and code_of(error) not in (QUERY_CANCELED, LOCK_NOT_AVAILABLE)
        and not OUR_MISTAKE.search(str(error))
    )


def retry_if_connection_died(read: Callable):
    """Return what `read()` returns. If a kept connection has died with its server, call it again on a new one.

    This is for the first query of a request, outside of any transaction.
    """
    connection = connections[DEFAULT_DB_ALIAS]  # `django.db.connection` would look it up at every use
    kept = connection.connection
    try:
        return read()
    except DATABASE_AWAY:
        # One that was given up on, or never came about, is not asked again: whoever waits has waited long enough.
        if connection.in_atomic_block or not getattr(kept, "broken", False):
            raise
        connection.close()
        return read()
