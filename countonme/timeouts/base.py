"""Django's backend for PostgreSQL, with connections that give up. It has to be in the module `base` of a package."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock, local
from time import monotonic
from types import SimpleNamespace

import psycopg
from django.db.backends.postgresql import base

from countonme.timeouts import times

PAUSE = 1.0  # seconds
waiting = local()  # of the thread that connects: `until` when


class Silence:
    """Whether the database has let somebody wait in vain. While it is so, it is asked by one thread now and then.

    Whoever comes meanwhile is refused at once: if each asked for itself, all threads would be held, and behind them
    would stand those who have waited for a thread already.
    """

    def __init__(self):
        self.is_on = False
        self.asked_again_at = 0.0
        self.turn = Lock()

    def falls(self) -> None:
        self.is_on, self.asked_again_at = True, monotonic() + PAUSE

    @contextmanager
    def asked(self) -> Iterator[None]:
        mine = self.is_on and monotonic() > self.asked_again_at and self.turn.acquire(blocking=False)
        if self.is_on and not mine:
            raise psycopg.OperationalError("The database was silent a moment ago.")
        try:
            yield
            self.is_on = False
        except psycopg.errors.ConnectionTimeout:
            self.falls()
            raise
        finally:
            if mine:
                self.turn.release()


silence = Silence()


class Connection(psycopg.Connection):
    """A connection on which nothing takes longer than `seconds`.

    PostgreSQL's own time-outs end what it is at. They are of no use where it does not answer at all, or its host does
    not, or a pooler in between has no connection for us; and they can't be set through a pooler.
    """

    seconds: float

    @classmethod
    def connect(cls, *, give_up_after: float, **params) -> "Connection":
        waiting.until = monotonic() + give_up_after
        with silence.asked():
            connection = super().connect(**params)
        connection.seconds = give_up_after
        return connection

    @classmethod
    def _connect_gen(cls, conninfo: str = ""):
        # psycopg's own connect_timeout is 2 seconds at least, for each of a host's addresses.
        connecting = super()._connect_gen(conninfo)
        ready = None
        try:
            while True:
                ready = yield connecting.send(ready)
                if monotonic() > waiting.until:
                    raise psycopg.errors.ConnectionTimeout("The database does not let us in.")
        except StopIteration as done:
            return done.value
        finally:
            connecting.close()

    def wait(self, gen, *args, timeout: float | None = None, **kwargs):
        own = self.seconds * times.get() if timeout is None else timeout
        try:
            return super().wait(gen, *args, timeout=own, **kwargs)
        except psycopg.errors._WaitTimeout as error:
            if timeout is not None:
                raise
            silence.falls()
            self.close()  # the answer may still come, and would be taken for the next one's
            raise psycopg.OperationalError(f"The database has not answered in {own:g} seconds.") from error
        except psycopg.InternalError as error:
            if error.sqlstate is not None:
                raise
            # Not the server's own word: a pooler that lost its server says so twice, which psycopg has no place for.
            self.close()
            raise psycopg.OperationalError(str(error)) from error


class DatabaseWrapper(base.DatabaseWrapper):
    Database = SimpleNamespace(**{**vars(base.DatabaseWrapper.Database), "connect": Connection.connect})
