"""The queue of writers on SQLite. test_timeouts.py tests it in a running service."""

import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from threading import Event, Thread
from unittest.mock import Mock

import pytest
from django.db import IntegrityError, OperationalError, connection, connections, transaction

from countonme.db.sqlite import base, write_queue
from countonme.db.sqlite.write_queue import WriteQueue
from devices.models import no_lock_wait
from tests.harness.processes import wait_until

INSERT = "INSERT INTO numbers VALUES (%s)"


@contextmanager
def in_background(function: Callable, *args):
    """Run the function in another thread, which ends with this block."""
    thread = Thread(target=function, args=args)
    thread.start()
    try:
        yield thread
    finally:
        thread.join(10)
        assert not thread.is_alive()


@pytest.fixture
def file(tmp_path):
    return tmp_path / "db.sqlite3"


@pytest.fixture
def connect(file):
    """Return a function that opens connections to a file, which are closed after the test."""
    opened = []

    def connect() -> sqlite3.Connection:
        opened.append(sqlite3.connect(file, isolation_level=None, check_same_thread=False, timeout=0))
        return opened[-1]

    yield connect
    for one in opened:
        one.close()


class TestTheQueue:
    def test_is_first_come_first_served(self, connect):
        queue, order = WriteQueue(), []
        first = connect()
        assert queue.acquire(first, 5)

        def write(number: int) -> None:
            connection_of_thread = connect()
            assert queue.acquire(connection_of_thread, 10)
            order.append(number)
            queue.release(connection_of_thread)

        threads = []
        for number in range(10):
            threads.append(Thread(target=write, args=[number]))
            threads[-1].start()
            wait_until(lambda: len(queue.waiting) == len(threads), "the thread doesn't wait")
        queue.release(first)
        for thread in threads:
            thread.join(10)

        assert order == list(range(10))
        assert queue.owner is None

    def test_gives_no_second_turn_before_the_waiting_ones(self, connect):
        queue, first, second = WriteQueue(), connect(), connect()
        assert queue.acquire(first, 5)

        with in_background(queue.acquire, second, 5):
            wait_until(lambda: queue.waiting, "the thread doesn't wait")
            queue.release(first)

            assert not queue.acquire(first, 0)
            assert queue.owner.connection is second

    @pytest.mark.parametrize("timeout", [0, 0.3])
    def test_is_left_after_the_timeout(self, connect, timeout):
        queue, first = WriteQueue(), connect()
        assert queue.acquire(first, 5)

        began = time.monotonic()
        assert not queue.acquire(connect(), timeout)

        assert timeout <= time.monotonic() - began < timeout + 0.5
        assert not queue.waiting
        queue.release(first)
        assert queue.owner is None

    def test_keeps_its_order_when_one_leaves(self, connect):
        queue, first, patient = WriteQueue(), connect(), connect()
        assert queue.acquire(first, 5)

        with in_background(queue.acquire, connect(), 0.3):
            wait_until(lambda: queue.waiting, "the thread doesn't wait")
            with in_background(queue.acquire, patient, 5):
                wait_until(lambda: len(queue.waiting) == 2, "the thread doesn't wait")
                wait_until(lambda: len(queue.waiting) == 1, "the thread doesn't give up")
                queue.release(first)

        assert queue.owner.connection is patient

    @pytest.mark.parametrize("has_turn", [True, False])
    def test_is_left_by_an_interrupted_thread(self, connect, monkeypatch, has_turn):
        queue, first = WriteQueue(), connect()
        assert queue.acquire(first, 5)

        def interrupt(event, timeout) -> None:
            if has_turn:
                queue.release(first)
            raise KeyboardInterrupt

        monkeypatch.setattr(write_queue.Event, "wait", interrupt)
        with pytest.raises(KeyboardInterrupt):
            queue.acquire(connect(), 5)

        assert not queue.waiting
        assert (queue.owner is None) is has_turn

    def test_closes_the_connection_of_a_thread_that_ended_in_a_transaction(self, connect):
        queue, abandoned, other = WriteQueue(), connect(), connect()

        def begin() -> None:
            assert queue.acquire(abandoned, 5)
            abandoned.execute("BEGIN IMMEDIATE")

        with in_background(begin):
            pass
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")

        assert queue.acquire(other, 5)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            abandoned.execute("SELECT 1")

    def test_detects_such_a_thread_while_others_wait(self, connect):
        queue, abandoned, end = WriteQueue(), connect(), Event()

        def hold() -> None:
            assert queue.acquire(abandoned, 5)
            end.wait(10)

        with in_background(hold):
            wait_until(lambda: queue.owner, "the thread has no turn")
            with ThreadPoolExecutor(1) as pool:
                waits = pool.submit(queue.acquire, connect(), 5)
                wait_until(lambda: queue.waiting, "the thread doesn't wait")
                end.set()

                assert waits.result(5)


def commit() -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(INSERT, [1])
        assert has_turn()


def commit_a_savepoint() -> None:
    with transaction.atomic():
        with suppress(KeyError), transaction.atomic():
            raise KeyError
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(INSERT, [1])
        assert has_turn()


def raise_in_a_transaction() -> None:
    with suppress(KeyError), transaction.atomic():
        assert has_turn()
        raise KeyError


def break_a_constraint_in_a_transaction() -> None:
    with pytest.raises(IntegrityError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(INSERT, [1])
        assert has_turn()
        cursor.execute(INSERT, [1])


def close_in_a_transaction() -> None:
    with transaction.atomic():
        assert has_turn()
        connection.close()


def fail_to_commit() -> None:
    """Violate a deferred constraint, which fails at the commit."""
    with pytest.raises(IntegrityError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("INSERT INTO children VALUES (99)")
        assert has_turn()


def fail_to_begin() -> None:
    """Begin while another process holds SQLite's lock."""
    with closing(sqlite3.connect(connection.settings_dict["NAME"], isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(OperationalError, match="locked"), transaction.atomic():
            pass


def end_by_a_statement() -> None:
    with connection.cursor() as cursor:
        cursor.execute("BEGIN IMMEDIATE")
        assert has_turn()
        cursor.execute("COMMIT")


def write_without_a_transaction() -> None:
    with connection.cursor() as cursor:
        cursor.execute(INSERT, [1])
        cursor.executemany("UPDATE numbers SET n = n + 1 WHERE n = %s", [[1], [2]])


def break_a_constraint_without_a_transaction() -> None:
    with pytest.raises(IntegrityError), connection.cursor() as cursor:
        cursor.execute(INSERT, [1])
        cursor.execute(INSERT, [1])


def be_interrupted_before_the_commit() -> None:
    """Interrupt the commit. Turning autocommit on again then commits."""
    connection._commit = Mock(side_effect=KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt), transaction.atomic():
        assert has_turn()
    del connection._commit


def commit_by_hand() -> None:
    end_by_hand(connection.commit)


def roll_back_by_hand() -> None:
    end_by_hand(connection.rollback)


def end_by_hand(end: Callable) -> None:
    connection.set_autocommit(False)
    with connection.cursor() as cursor:
        cursor.execute(INSERT, [1])
    assert has_turn()
    end()
    assert not has_turn()
    connection.set_autocommit(True)


def abandon_a_transaction_begun_by_hand() -> None:
    connection.set_autocommit(False)
    with connection.cursor() as cursor:
        cursor.execute(INSERT, [1])
    assert has_turn()
    connection.close_if_unusable_or_obsolete()


def has_turn() -> bool:
    return base.queue.owner is not None and base.queue.owner.connection is connection.connection


class TestTheBackend:
    @pytest.fixture(autouse=True)
    def _embedded(self, django_db_blocker, monkeypatch, file):
        """Use a database file as the default database, with a timeout of 0.5 seconds for writers."""
        monkeypatch.setattr(base, "queue", WriteQueue())
        options = {"transaction_mode": "IMMEDIATE", "init_command": "PRAGMA journal_mode=WAL", "timeout": 0.5}
        options["queue_writers"] = True
        database = {"ENGINE": "countonme.db.sqlite", "NAME": file, "CONN_MAX_AGE": None, "OPTIONS": options}
        (settings,) = connections.configure_settings({"default": database}).values()
        here, before = connections["default"], connections.settings["default"]
        connections.settings["default"] = settings
        del connections["default"]
        with django_db_blocker.unblock():
            with connection.cursor() as cursor:
                cursor.execute("CREATE TABLE numbers (n integer PRIMARY KEY)")
                cursor.execute("CREATE TABLE children (n REFERENCES numbers DEFERRABLE INITIALLY DEFERRED)")
            yield
            connections["default"].close()
        connections.settings["default"] = before
        connections["default"] = here

    @pytest.mark.parametrize(
        "use",
        [
            commit,
            commit_a_savepoint,
            raise_in_a_transaction,
            break_a_constraint_in_a_transaction,
            close_in_a_transaction,
            fail_to_commit,
            fail_to_begin,
            end_by_a_statement,
            write_without_a_transaction,
            break_a_constraint_without_a_transaction,
            be_interrupted_before_the_commit,
            commit_by_hand,
            roll_back_by_hand,
            abandon_a_transaction_begun_by_hand,
        ],
    )
    def test_ends_its_turn(self, use):
        use()

        assert base.queue.owner is None
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(INSERT, [1_000])

    @contextmanager
    def turn_of_another_thread(self, connect):
        other = connect()
        assert base.queue.acquire(other, 0)
        yield other
        base.queue.release(other)

    @pytest.mark.parametrize("statement", ["BEGIN IMMEDIATE", "begin exclusive", INSERT, "  UPDATE numbers SET n = 1"])
    def test_waits_for_its_turn_until_the_timeout(self, connect, statement):
        with self.turn_of_another_thread(connect), connection.cursor() as cursor:
            began = time.monotonic()
            with pytest.raises(OperationalError, match="database is locked"):
                cursor.execute(statement, [1] if statement is INSERT else None)

        assert 0.5 <= time.monotonic() - began < 1
        assert not base.queue.waiting
        assert cursor.db.connection.execute("PRAGMA busy_timeout").fetchone() == (500,)

    def test_has_one_timeout_for_its_turn_and_the_lock(self, connect):
        other = connect()
        other.execute("BEGIN IMMEDIATE")
        holder = connect()
        assert base.queue.acquire(holder, 0)
        began = time.monotonic()

        def give_back() -> None:
            time.sleep(0.3)
            base.queue.release(holder)

        with in_background(give_back), pytest.raises(OperationalError, match="locked"), transaction.atomic():
            pass

        assert 0.4 < time.monotonic() - began < 0.75
        assert base.queue.owner is None

    def test_fails_at_once_without_waiting(self, connect):
        began = time.monotonic()
        with (
            self.turn_of_another_thread(connect),
            pytest.raises(OperationalError, match="locked"),
            no_lock_wait(),
            transaction.atomic(),
        ):
            pass

        assert time.monotonic() - began < 0.3

    def test_lets_readers_read_without_a_turn(self, connect):
        with self.turn_of_another_thread(connect), connection.cursor() as cursor:
            assert cursor.execute("SELECT * FROM numbers").fetchall() == []
            connection.transaction_mode = "DEFERRED"
            with transaction.atomic():
                assert cursor.execute("SELECT * FROM numbers").fetchall() == []

    def test_gives_writers_equal_shares(self):
        end = time.monotonic() + 2

        def write(number: int) -> int:
            written = 0
            with closing(connection):
                while time.monotonic() < end:
                    written += 1
                    with transaction.atomic(), connection.cursor() as cursor:
                        cursor.execute(INSERT, [number * 1_000_000 + written])
                    with connection.cursor() as cursor:  # without a transaction
                        cursor.execute("DELETE FROM numbers WHERE n = %s", [number * 1_000_000 + written])
            return written

        with ThreadPoolExecutor(16) as pool:
            shares = sorted(pool.map(write, range(16)))

        assert shares[0] > 0
        assert shares[-1] <= shares[0] + 3
