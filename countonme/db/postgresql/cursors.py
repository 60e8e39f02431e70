"""Cached cursors: one for each statement, kept as long as the connection."""

from collections.abc import Iterator

from psycopg.types.datetime import TimestamptzLoader
from psycopg.types.numeric import FloatLoader
from psycopg.types.string import TextLoader

from countonme.observability import query_timer

LARGE_RESULT = 1000  # rows; after such a result the cursor is not kept, because it would keep the rows in memory
# psycopg's loaders, which are written in C. Django's loader sets its time zone, which is UTC, like the session's.
LOADERS = {"timestamptz": TimestamptzLoader}
JSON_LOADERS = LOADERS | {"numeric": FloatLoader, "uuid": TextLoader}


class CachedCursors:
    """Methods of a DatabaseWrapper that run a statement on a cached cursor.

    Each statement has its own cursor: psycopg looks up how to adapt the values when a cursor's statement changes. With
    `for_json`, amounts are floats and ids are strings.
    """

    def get_new_connection(self, params: dict):
        self.cursors: dict[tuple[str, bool], object] = {}
        return super().get_new_connection(params)

    def execute_cached(self, sql: str, params: list, *, for_json: bool = False):
        """Run a statement and return its cursor, which is valid until the same statement runs again."""
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
                with query_timer.measure():  # the database does the work here
                    rows = cursor.fetchmany(size)
                is_last = len(rows) < size
                yield rows

    def to_driver(self, value):
        """Return a value in psycopg's types: unchanged, except that a list of ids becomes an array literal."""
        return f"{{{','.join(map(str, value))}}}" if isinstance(value, list) else value


def set_loaders(cursor, for_json: bool) -> None:
    for name, loader in (JSON_LOADERS if for_json else LOADERS).items():
        cursor.adapters.register_loader(name, loader)
