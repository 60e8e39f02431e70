"""Worker slots: numbers for the names of a worker's metric files, which the next worker can use again."""

import fcntl
import os
from itertools import count
from pathlib import Path


class WorkerSlot:
    """The lowest number that no other running process has. It is part of the names of the process's files.

    A worker that replaces another one continues its files. If the names had the process id, each new worker would add
    files, and none of them could ever be removed from the sum.
    """

    def __init__(self, folder: str):
        self.folder = Path(folder)
        self.pid, self.number, self.lock = None, None, None

    def __call__(self) -> int:
        if self.pid != os.getpid():  # a forked worker needs a number of its own
            self.acquire()
        return self.number

    def acquire(self) -> None:
        """Lock the first file that no process has locked. The kernel unlocks it when this process ends."""
        for number in count():
            lock = os.open(self.folder / f"{number}.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(lock)
                continue
            self.pid, self.number, self.lock = os.getpid(), number, lock
            return
