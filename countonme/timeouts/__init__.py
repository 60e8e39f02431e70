"""How long the process that serves waits for its database: not long, since somebody waits for the process.

What has no answer by then gets a `503`, and its thread is free again. Management commands wait as long as it takes:
`countonme/wsgi.py` alone asks for time-outs. On SQLite, writers wait for each other, and longer: `countonme/sqlite`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from django.db import connection

from countonme.prepared import once_more

LONG = 20  # times as long, for a statement on very many rows, and for SQLite's writers, which wait for each other
A_DAY = 24 * 60 * 60  # seconds

times: ContextVar[int] = ContextVar("times", default=1)


def give_up_after(seconds: float, database: dict) -> None:
    """Let the connections of this process to the database give up after so many seconds; after 0, never.

    On SQLite only a lock makes a connection wait: its writers queue, and give up after LONG times as many seconds.

    `database` is its entry in DATABASES; for the connections that are there already nothing changes.
    """
    options = database.setdefault("OPTIONS", {})
    if database["ENGINE"] == "django.db.backends.sqlite3":
        database["ENGINE"] = "countonme.sqlite"
        options["timeout"] = LONG * seconds or A_DAY  # for other writers; a file always answers
    elif seconds and database["ENGINE"] == "django.db.backends.postgresql":
        database["ENGINE"] = __name__
        options |= {"give_up_after": seconds, **whether_the_host_is_there(seconds)}
        if options.get("prepare_threshold") is not None:  # a pooler knows no settings of a connection
            options["options"] = f"{what_the_server_ends(seconds)} {options.get('options', '')}".strip()


def whether_the_host_is_there(seconds: float) -> dict:
    """Return the settings by which a connection to a host that has vanished dies, however long it may be waited for."""
    return {
        "keepalives_idle": 2,
        "keepalives_interval": 1,
        "keepalives_count": 3,
        "tcp_user_timeout": round(seconds * 1000),
    }


def what_the_server_ends(seconds: float) -> str:
    """Return the settings by which the server ends what nobody waits for any more, and all waiting for a lock.

    That a little earlier: so it is known that the server is there, and the connection is kept.
    """
    return f"-c lock_timeout={round(900 * seconds)} -c statement_timeout={round(1000 * LONG * seconds)}"


@contextmanager
def at_length() -> Iterator[None]:
    """Let a statement take LONG as long inside of this block: on many rows, that is no sign of a database that is away.

    For where it has answered a moment ago, with the patience of always.
    """
    token = times.set(LONG)
    try:
        yield
    finally:
        times.reset(token)


def ask_whether_it_is_there() -> None:
    """Give up on a database that is away, where this process gives up at all."""
    if connection.settings_dict["ENGINE"] == __name__:
        once_more(is_there)


def is_there() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
