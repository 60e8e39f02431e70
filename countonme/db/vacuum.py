"""Overwrite or free the space that deleted rows have left in the database's files."""

from collections.abc import Iterable

from django.db import connection
from django.db.models import Model


def vacuum(models: Iterable[type[Model]]) -> None:
    """Vacuum the models' tables. Other connections read and write meanwhile. In a transaction, do nothing.

    SQLite overwrites deleted rows at once (`secure_delete` in the settings). It only has to write its log, which still
    holds the old pages, back to the file. It can't do so while another connection reads: then the next call does it.
    PostgreSQL frees the space. The bytes stay until it is used again.
    """
    if connection.in_atomic_block:
        return
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        else:
            tables = ", ".join(connection.ops.quote_name(model._meta.db_table) for model in models)
            cursor.execute(f"VACUUM {tables}")
