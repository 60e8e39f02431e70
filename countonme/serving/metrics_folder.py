"""The folder of the workers' metric files. A killed service leaves its folder, and the next start removes it."""

import fcntl
import os
import shutil
import tempfile
from pathlib import Path

PREFIX = "countonme-metrics-"


def create(parent: str | None) -> str:
    """Create a folder that is locked as long as this process or a child of it runs. Remove folders that nobody uses.

    `parent` is a folder for temporary files, which services of several users may share. The default is the system's.
    """
    parent = parent or tempfile.gettempdir()
    for unused in Path(parent).glob(f"{PREFIX}*"):
        if (lock := lock_if_unused(unused)) is not None:
            shutil.rmtree(unused, ignore_errors=True)
            os.close(lock)
    while True:
        folder = tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=parent)
        if (lock := lock_if_unused(Path(folder))) is not None:  # otherwise another service has just removed it
            os.set_inheritable(lock, True)  # if gunicorn replaces itself (SIGUSR2), its successor uses the folder
            return folder


def remove(folder: str) -> None:
    """Remove a folder if this process has created it."""
    if Path(folder).name.startswith(f"{PREFIX}{os.getpid()}-"):
        shutil.rmtree(folder, ignore_errors=True)


def lock_if_unused(folder: Path) -> int | None:
    """Lock a folder of this user and return the file descriptor, or None if it is locked or removed."""
    try:
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        status = os.fstat(lock)
        if status.st_nlink and status.st_uid == os.geteuid():
            return lock
    except BlockingIOError:
        pass
    os.close(lock)
    return None
