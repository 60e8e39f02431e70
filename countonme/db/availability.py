"""Database availability: which errors mean an outage, and one retry if a kept connection has died."""

import re
from collections.abc import Callable

from django.db import DEFAULT_DB_ALIAS, InterfaceError, OperationalError, connections

DATABASE_AWAY = (OperationalError, InterfaceError)
# SQLite raises OperationalError for errors in the SQL too.
SQL_ERROR = re.compile(r"no such (table|column|function)|has no column|syntax error")
# PostgreSQL's SQLSTATE of a statement that it cancelled. The database and the connection still work.
QUERY_CANCELED, LOCK_NOT_AVAILABLE = "57014", "55P03"


def sqlstate_of(error: BaseException) -> str | None:
    """Return PostgreSQL's SQLSTATE of an error that Django has wrapped."""
    return getattr(error.__cause__, "sqlstate", None)


def is_away(error: BaseException | None) -> bool:
    """Return whether the error means that the database is unavailable, and not that one statement failed."""
    return (
        isinstance(error, DATABASE_AWAY)
        and sqlstate_of(error) not in (QUERY_CANCELED, LOCK_NOT_AVAILABLE)
        and not SQL_ERROR.search(str(error))
    )


def retry_if_connection_died(read: Callable):
    """Call `read()` and return its result. If a kept connection has died with its server, retry once on a new one.

    Use this for the first query of a request, outside of any transaction.
    """
    connection = connections[DEFAULT_DB_ALIAS]  # `django.db.connection` looks it up at every use
    kept = connection.connection
    try:
        return read()
    except DATABASE_AWAY:
        # No retry after a timeout, or if there was no connection: the client has waited long enough.
        if connection.in_atomic_block or not getattr(kept, "broken", False):
            raise
        connection.close()
        return read()
