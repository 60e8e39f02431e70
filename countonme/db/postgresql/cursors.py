"""Cursors that are kept as long as their connection: to make one takes as long as to run a short query."""

from collections.abc import Iterator

from psycopg.types.datetime import TimestamptzLoader
from psycopg.types.numeric import FloatLoader
from psycopg.types.string import TextLoader

from countonme.observability import query_timer

LARGE_RESULT = 1000  # rows, from which on a cursor is not kept: it holds its last result until it runs again
# psycopg's own loaders, which are written in C. Django's puts its time zone on each datetime: UTC, as the session's is.
LOADERS = {"timestamptz": TimestamptzLoader}
JSON_LOADERS = LOADERS | {"numeric": FloatLoader, "uuid": TextLoader}


class CachedCursors:
    """The part of a DatabaseWrapper that runs a statement again and again.

    Each statement has a cursor of its own: psycopg finds out how to write the values when a cursor's statement changes.
    With `for_json`, amounts are floats and ids are texts.
    """

    def get_new_connection(self, params: dict):
        self.cursors: dict[tuple[str, bool], object] = {}
        return super().get_new_connection(params)

    def execute_cached(self, sql: str, params: list, *, for_json: bool = False):
        """Run a statement and return its cursor, which is good until the same statement runs again."""
        if self.connection is None:
            self.ensure_connection()
        cursor = self.cursors.get((sql, for_json))
        if cursor is None:
            with self.wrap_database_errors:
                cursor = self.cursors[sql, for_json] = self.make_cursor(self.create_cursor())
            set_loaders(cursor.cursor, for_json)
        if self.queries_logged:
            cursor = self.make_debug_cursor(cursor.cursor)
        cursor.execute(sql, params)
        return cursor

    def fetch_cached(self, sql: str, params: list, *, for_json: bool = False) -> list[tuple]:
        """Run a query and return its rows."""
        cursor = self.execute_cached(sql, params, for_json=for_json).cursor
        with self.wrap_database_errors:
            rows = cursor.fetchall()
        if len(rows) >= LARGE_RESULT:
            del self.cursors[sql, for_json]
        return rows

    def fetch_chunks(self, sql: str, params: list, size: int, *, for_json: bool = False) -> Iterator[list[tuple]]:
        """Run a query on a server-side cursor, and yield its rows in lists of `size`. The last one may be shorter."""
        with self.chunked_cursor() as cursor:
            set_loaders(cursor.cursor, for_json)
            cursor.execute(sql, params)
            is_last = False
            while not is_last:
                with query_timer.counted():  # this is when the database does the work
                    rows = cursor.fetchmany(size)
                is_last = len(rows) < size
                yield rows

    def to_driver(self, value):
        """Return a value as psycopg takes it, which is as it is. A list of ids becomes the text of an array."""
        return f"{{{','.join(map(str, value))}}}" if isinstance(value, list) else value


def set_loaders(cursor, for_json: bool) -> None:
    for name, loader in (JSON_LOADERS if for_json else LOADERS).items():
        cursor.adapters.register_loader(name, loader)
