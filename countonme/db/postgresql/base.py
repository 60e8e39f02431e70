"""Django's backend for PostgreSQL, with timeouts and a circuit breaker.

Django requires this module's name: a backend is a package with a module `base`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock, local
from time import monotonic
from types import SimpleNamespace

import psycopg
from django.db.backends.postgresql import base
from psycopg.pq import TransactionStatus
from psycopg.waiting import READY_NONE

from countonme.db.postgresql import times
from countonme.db.postgresql.cursors import CachedCursors

PAUSE = 1.0  # seconds between two attempts to connect while the circuit breaker is open
HEAD_START = 0.1  # seconds that the server's own limit has before the client cancels the statement
GRACE = 0.4  # seconds that the server has to react to that
connecting = local()  # `until` when this thread may try to connect


class CircuitBreaker:
    """Opens when the database does not react. Then one thread a second tries to connect; the others fail at once.

    If each thread tried, all of them would be held, and so would the requests that wait for a thread.
    """

    def __init__(self):
        self.is_open = False
        self.next_attempt = 0.0
        self.attempt = Lock()

    def open(self) -> None:
        self.is_open, self.next_attempt = True, monotonic() + PAUSE

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Connect inside of this block."""
        mine = self.is_open and monotonic() > self.next_attempt and self.attempt.acquire(blocking=False)
        if self.is_open and not mine:
            raise psycopg.OperationalError("The database did not react a moment ago.")
        try:
            yield
            self.is_open = False
        except psycopg.errors.ConnectionTimeout:
            self.open()
            raise
        finally:
            if mine:
                self.attempt.release()


breaker = CircuitBreaker()


class Connection(psycopg.Connection):
    """A connection whose statements are limited to `seconds`.

    If the connection goes straight to PostgreSQL, the server ends a slow statement (`statement_timeout`). Behind a
    pooler it can't be given that limit; then the client cancels the statement. Either way the statement fails and the
    connection stays. If nothing comes back at all, the connection is closed. If the database does not react to a new
    connection either, the circuit breaker opens.
    """

    seconds: float
    params: dict  # of `connect`
    may_cancel = True

    @classmethod
    def connect(cls, *, give_up_after: float, **params) -> "Connection":
        connecting.until = monotonic() + give_up_after
        with breaker.guard():
            connection = super().connect(**params)
        connection.seconds, connection.params = give_up_after, params
        return connection

    @classmethod
    def _connect_gen(cls, conninfo: str = ""):
        # psycopg's own connect_timeout is 2 seconds at least, for each of a host's addresses.
        attempt = super()._connect_gen(conninfo)
        ready = None
        try:
            while True:
                ready = yield attempt.send(ready)
                if monotonic() > connecting.until:
                    raise psycopg.errors.ConnectionTimeout("The database does not accept the connection.")
        except StopIteration as done:
            return done.value
        finally:
            attempt.close()

    def wait(self, gen, *args, timeout: float | None = None, **kwargs):
        own = self.seconds * times.get() + HEAD_START if timeout is None else timeout
        try:
            try:
                return super().wait(gen, *args, timeout=own, **kwargs)
            except psycopg.errors._WaitTimeout:
                if timeout is not None:
                    raise
            return self.end_statement(gen)
        except psycopg.InternalError as error:
            if error.sqlstate is not None:
                raise
            # Not the server's own word: a pooler that lost its server says so twice, which psycopg has no place for.
            self.close()
            raise psycopg.OperationalError(str(error)) from error

    def end_statement(self, gen):
        """Cancel the statement that `gen` waits for. Raise the server's reaction, or give up on the server."""
        end = monotonic() + GRACE
        try:
            if self.may_cancel:
                self.cancel_safe(timeout=GRACE)
            is_delivered = True
        except psycopg.Error:
            is_delivered = False
        try:
            result = super().wait(resumed(gen), timeout=max(0.0, end - monotonic()))
        except psycopg.errors._WaitTimeout as error:
            if not is_delivered or not self.reacts_to_others():
                breaker.open()
            self.close()  # the response may still come, and would be taken for the next statement's
            raise psycopg.OperationalError("The database does not react.") from error
        finally:
            if not is_delivered:
                self.close()  # the cancel may still arrive, and would hit the next statement
        if self.may_cancel:
            # It ended at the last moment. If it was a write outside of a transaction, the cancel may have cut short
            # its wait for a synchronous standby, and PostgreSQL calls that a success.
            raise psycopg.errors.QueryCanceled("The statement was too slow.")
        return result

    def reacts_to_others(self) -> bool:
        """Return whether the database serves a new connection.

        A commit or a write that waits for a slow disk can't be ended. That is no outage: reads go on.
        """
        try:
            with type(self).connect(give_up_after=GRACE, **self.params) as other:
                other.execute("SELECT 1")
        except psycopg.Error:
            return False
        return True

    def commit(self) -> None:
        """Commit. That is never cancelled: it would confirm a write that a synchronous standby does not have."""
        self.may_cancel = False
        try:
            super().commit()
        finally:
            self.may_cancel = True

    @property
    def has_server_limit(self) -> bool:
        """Behind a pooler there is none: it would become another client's."""
        return self.prepare_threshold is not None

    def raise_limit(self, factor: int) -> None:
        self.execute(f"SET statement_timeout = {round(1000 * self.seconds * factor)}")

    def reset_limit(self) -> None:
        """Set the limit back to that of the connection's start; close the connection if that fails."""
        if self.closed or self.info.transaction_status == TransactionStatus.INERROR:  # a rollback resets it too
            return
        try:
            self.execute("RESET statement_timeout")
        except psycopg.Error:
            self.close()


def resumed(gen):
    """Go on with a generator of psycopg that a timeout has interrupted. It expects a number, and `next` sends None."""
    ready = READY_NONE
    try:
        while True:
            ready = yield gen.send(ready)
    except StopIteration as done:
        return done.value


def connect(*, give_up_after: float | None = None, **params) -> psycopg.Connection:
    """Connect with timeouts where this process has any."""
    if give_up_after is None:
        return psycopg.connect(**params)
    return Connection.connect(give_up_after=give_up_after, **params)


class DatabaseWrapper(CachedCursors, base.DatabaseWrapper):
    Database = SimpleNamespace(**{**vars(base.DatabaseWrapper.Database), "connect": connect})
