"""A fair lock: connections get it in the order in which they asked for it."""

import sqlite3
from collections import deque
from threading import Event, Lock, Thread, current_thread
from time import monotonic

CHECK_EVERY = 1.0  # seconds, after which a waiting thread checks that the owner's thread is still alive


class Place:
    """A place in the queue: a connection, and the thread that uses it."""

    def __init__(self, connection: sqlite3.Connection, thread: Thread):
        self.connection, self.thread = connection, thread
        self.has_turn = Event()


class WriteQueue:
    """Gives one connection at a time its turn to write: first come, first served.

    Neither `threading.Lock` nor SQLite's lock guarantees the order.
    """

    def __init__(self):
        self.owner: Place | None = None
        self.waiting: deque[Place] = deque()
        self.lock = Lock()  # protects the two above

    def acquire(self, connection: sqlite3.Connection, timeout: float) -> bool:
        """Wait for the turn, at most `timeout` seconds. Return whether the connection got it."""
        place = Place(connection, current_thread())
        with self.lock:
            self.waiting.append(place)
            self.advance()
        end = monotonic() + timeout
        try:
            while not place.has_turn.is_set() and (left := end - monotonic()) > 0:
                if not place.has_turn.wait(min(left, CHECK_EVERY)):
                    with self.lock:
                        self.advance()
        except BaseException:
            self.leave(place)
            self.release(connection)
            raise
        return not self.leave(place)

    def leave(self, place: Place) -> bool:
        """Leave the queue. Return False if the place already got its turn."""
        with self.lock:
            if place.has_turn.is_set():
                return False
            self.waiting.remove(place)
            return True

    def release(self, connection: sqlite3.Connection) -> None:
        """End the connection's turn; do nothing if it has none."""
        owner = self.owner
        if owner is None or owner.connection is not connection:
            return
        with self.lock:
            self.owner = None
            self.advance()

    def advance(self) -> None:
        """Give the turn to the first place in the queue, if no connection has it.

        A thread may end without ending its transaction. Then its connection is closed, which also frees SQLite's lock.
        """
        if self.owner is not None and not self.owner.thread.is_alive():
            abandoned, self.owner = self.owner, None
            abandoned.connection.close()
        if self.owner is None and self.waiting:
            self.owner = self.waiting.popleft()
            self.owner.has_turn.set()
