"""The ledger of erasures: a file outside of the database, so that a restore from a backup brings nobody back.

It has a line for each erasure: the time of the request, the receipt's id, and the SHA-256 of the device's id. Lines are
only ever appended. The request that erases a device appends its line after the commit. `manage.py erase` appends the
lines that are missing, so that the file is complete even if a process was killed in between, or the file was lost.
"""

import logging
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

from django.conf import settings

from devices.models import Erasure

LINE = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ) ([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}) ([0-9a-f]{64})")
TIME = "%Y-%m-%dT%H:%M:%SZ"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Entry:
    requested_at: datetime
    erasure_id: UUID
    device_hash: str

    @classmethod
    def of(cls, erasure: Erasure) -> "Entry":
        return cls(erasure.requested_at, erasure.pk, erasure.device_hash)

    def __str__(self) -> str:
        return f"{self.requested_at.astimezone(UTC):{TIME}} {self.erasure_id} {self.device_hash}"


def try_to_add(*erasures: Erasure) -> bool:
    """Append erasures to the ledger; return whether that succeeded. A failure is logged, for `erase` to try again."""
    try:
        append(map(Entry.of, erasures))
    except OSError:
        log.exception("The erasure ledger can't be written: see ERASURE_LEDGER")
        return False
    return True


def append(entries: Iterable[Entry]) -> None:
    """Append lines to the ledger, and return once they are on the disk. Raises OSError."""
    lines = "".join(f"{entry}\n" for entry in entries).encode()
    file = os.open(settings.ERASURE_LEDGER, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        size = os.fstat(file).st_size
        if size and os.pread(file, 1, size - 1) != b"\n":
            lines = b"\n" + lines  # a line that was broken off must not spoil the next one
        with open(file, "ab", closefd=False) as stream:
            stream.write(lines)
        os.fsync(file)
    finally:
        os.close(file)
    if not size:
        sync_folder(Path(settings.ERASURE_LEDGER).parent)


def sync_folder(folder: Path) -> None:
    """Have the name of a new file survive a power failure."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read(path: str | Path | None = None) -> Iterator[Entry | None]:
    """Yield the entries of a ledger (ERASURE_LEDGER), and None for each line that can't be read. Raises OSError."""
    with open(path or settings.ERASURE_LEDGER, encoding="ascii", errors="replace") as lines:
        for line in filter(str.strip, lines):
            match = LINE.fullmatch(line.strip())
            yield parsed(match) if match else None


def parsed(match: re.Match) -> Entry | None:
    try:
        requested_at = datetime.strptime(match[1], TIME).replace(tzinfo=UTC)
    except ValueError:  # a day that does not exist
        return None
    return Entry(requested_at, UUID(match[2]), match[3])
