"""VACUUM on PostgreSQL, a checkpoint of the log on SQLite: free or overwrite the space of deleted rows."""

from collections.abc import Iterable

from django.db import connection
from django.db.models import Model


def vacuum(models: Iterable[type[Model]]) -> None:
    """Vacuum the models' tables, without blocking other connections. In a transaction, do nothing.

    SQLite overwrites deleted rows at once (`secure_delete` in the settings). Only its write-ahead log still contains
    the old pages, so it is written back to the file. That fails while another connection reads: then the next call
    does it. PostgreSQL frees the space. The bytes stay until the space is used again.
    """
    if connection.in_atomic_block:
        return
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        else:
            tables = ", ".join(connection.ops.quote_name(model._meta.db_table) for model in models)
            cursor.execute(f"VACUUM {tables}")
