import fcntl
import os
from itertools import count
from pathlib import Path


class Slot:
    """A number that no other living process has, for the name of a file that it writes: the lowest that is free.

    A worker that replaces another one goes on in its files. By process ids there would be new files for each worker
    that ever was, all of which belong to the sum.
    """

    def __init__(self, folder: str):
        self.folder = Path(folder)
        self.pid, self.number, self.lock = None, None, None

    def __call__(self) -> int:
        if self.pid != os.getpid():  # in a worker that was just forked too
            self.take()
        return self.number

    def take(self) -> None:
        """Lock the first file that nobody has locked; the kernel unlocks it when this process ends, however it does."""
        for number in count():
            lock = os.open(self.folder / f"{number}.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(lock)
                continue
            self.pid, self.number, self.lock = os.getpid(), number, lock
            return
