"""Django's backend for PostgreSQL, with timeouts and a circuit breaker.

Django requires this module's name: a backend is a package with a module `base`.
"""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from threading import Lock, Thread, local
from time import monotonic
from types import SimpleNamespace

import psycopg
from django.db.backends.postgresql import base
from psycopg.pq import TransactionStatus
from psycopg.waiting import READY_NONE

from countonme.db.postgresql import timeout_factor
from countonme.db.postgresql.cursors import CachedCursors

PAUSE = 1.0  # seconds between two attempts to connect while the circuit breaker is open
HEAD_START = 0.1  # seconds that the server's own limit has before the client cancels the statement
GRACE = 0.4  # seconds that the server has to react to that
connecting = local()  # `until` when this thread may try to connect


class CircuitBreaker:
    """Opens when the database does not react. Then one thread a second tries to connect; the others fail at once.

    If every thread tried, all threads would wait, and no other request could be served.
    """

    def __init__(self):
        self.is_open = False
        self.next_attempt = 0.0
        self.attempt = Lock()

    def open(self) -> None:
        self.is_open, self.next_attempt = True, monotonic() + PAUSE

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Connect inside of this block. Raise OperationalError if the breaker is open and it is not time to try."""
        is_attempt = self.is_open and monotonic() > self.next_attempt and self.attempt.acquire(blocking=False)
        if self.is_open and not is_attempt:
            raise psycopg.OperationalError("The database did not react a moment ago.")
        try:
            yield
            self.is_open = False
        except psycopg.errors.ConnectionTimeout:
            self.open()
            raise
        finally:
            if is_attempt:
                self.attempt.release()


breaker = CircuitBreaker()


class Connection(psycopg.Connection):
    """A connection whose statements are limited to `seconds`.

    If the connection is a direct one, PostgreSQL cancels a slow statement (`statement_timeout`). A pooler can't pass
    that limit on; then the client cancels the statement. Either way the statement fails and the connection stays. If
    there is no response at all, the connection is closed. If the database does not react to a new connection either,
    the circuit breaker opens.
    """

    seconds: float
    params: dict  # of `connect`
    may_cancel = True

    @classmethod
    def connect(cls, *, statement_limit: float, **params) -> "Connection":
        connecting.until = monotonic() + statement_limit
        with breaker.guard():
            params = add_addresses(params, statement_limit)
            connection = super().connect(**params)
        connection.seconds, connection.params = statement_limit, params
        return connection

    @classmethod
    def _connect_gen(cls, conninfo: str = ""):
        # psycopg's connect_timeout is 2 seconds at least, for each address of the host.
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
        limit = self.seconds * timeout_factor.get() + HEAD_START if timeout is None else timeout
        try:
            try:
                return super().wait(gen, *args, timeout=limit, **kwargs)
            except psycopg.errors._WaitTimeout:
                if timeout is not None:
                    raise
            return self.end_statement(gen)
        except psycopg.InternalError as error:
            if error.sqlstate is not None:
                raise
            # Not an error of the server: a pooler that lost its server sends the error twice, which psycopg can't read.
            self.close()
            raise psycopg.OperationalError(str(error)) from error

    def end_statement(self, gen):
        """Cancel the statement that `gen` waits for. Raise the server's error, or close the connection without one."""
        end = monotonic() + GRACE
        try:
            if self.may_cancel:
                self.cancel_safe(timeout=GRACE)
            is_delivered = True
        except psycopg.Error:
            is_delivered = False
        try:
            result = super().wait(resume(gen), timeout=max(0.0, end - monotonic()))
        except psycopg.errors._WaitTimeout as error:
            if not is_delivered or not self.reacts_to_others():
                breaker.open()
            self.close()  # the response may still come, and would be read as that of the next statement
            raise psycopg.OperationalError("The database does not react.") from error
        finally:
            if not is_delivered:
                self.close()  # the cancel may still arrive, and would hit the next statement
        if self.may_cancel:
            # It ended at the last moment. If it was a write outside of a transaction, the cancel may have ended its
            # wait for a synchronous standby, and PostgreSQL reports that as a success.
            raise psycopg.errors.QueryCanceled("The statement was too slow.")
        return result

    def reacts_to_others(self) -> bool:
        """Return whether the database serves a new connection.

        A commit or a write that waits for a slow disk can't be cancelled. That is no outage: reads still work.
        """
        try:
            with type(self).connect(statement_limit=GRACE, **self.params) as other:
                other.execute("SELECT 1")
        except psycopg.Error:
            return False
        return True

    def commit(self) -> None:
        """Commit, without a cancel: a cancelled commit confirms a write that a synchronous standby may not have."""
        self.may_cancel = False
        try:
            super().commit()
        finally:
            self.may_cancel = True

    @property
    def has_server_limit(self) -> bool:
        """Return whether the server has a limit. Behind a pooler it has none: other clients share the connection."""
        return self.prepare_threshold is not None

    def raise_limit(self, factor: int) -> None:
        self.execute(f"SET statement_timeout = {round(1000 * self.seconds * factor)}")

    def reset_limit(self) -> None:
        """Reset the limit to the connection's initial value. Close the connection if that fails."""
        if self.closed or self.info.transaction_status == TransactionStatus.INERROR:  # a rollback resets it too
            return
        try:
            self.execute("RESET statement_timeout")
        except psycopg.Error:
            self.close()


def add_addresses(params: dict, seconds: float) -> dict:
    """Return the parameters of a connection with the addresses of the host, unless it is a list or a folder of sockets.

    psycopg looks them up too, but without a limit: with a silent name server, that takes 10 seconds or more.
    """
    host = params.get("host", "")
    if not host or "," in host or host.startswith(("/", "@")) or params.get("hostaddr"):
        return params
    addresses = find_addresses(host, seconds)
    return params | {"host": ",".join([host] * len(addresses)), "hostaddr": ",".join(addresses)}


def find_addresses(host: str, seconds: float) -> list[str]:
    """Look a host up, in a thread of its own, because `getaddrinfo()` has no timeout and can't be interrupted."""
    outcome = SimpleQueue()

    def look_up() -> None:
        try:
            outcome.put(socket.getaddrinfo(host, None, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            outcome.put(error)

    Thread(target=look_up, daemon=True).start()
    try:
        found = outcome.get(timeout=seconds)
    except Empty:
        raise psycopg.errors.ConnectionTimeout("The look-up of the database's host name takes too long.") from None
    if isinstance(found, Exception):
        raise psycopg.OperationalError(f"The database's host name {host!r} has no address: {found}") from found
    return [address for *_, (address, *_) in found]


def resume(gen):
    """Resume a generator of psycopg after a timeout. It expects a number, and `next()` would send None."""
    ready = READY_NONE
    try:
        while True:
            ready = yield gen.send(ready)
    except StopIteration as done:
        return done.value


def connect(*, statement_limit: float | None = None, **params) -> psycopg.Connection:
    """Connect, with timeouts if this process has any."""
    if statement_limit is None:
        return psycopg.connect(**params)
    return Connection.connect(statement_limit=statement_limit, **params)


class DatabaseWrapper(CachedCursors, base.DatabaseWrapper):
    Database = SimpleNamespace(**{**vars(base.DatabaseWrapper.Database), "connect": connect})
