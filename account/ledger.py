"""The ledger of erasures: a file outside the database, so that a restore from a backup restores no erased device.

It has a line for each erasure: the time of the request, the receipt's id, and the SHA-256 of the device's id. The file
is append-only. The request that erases a device appends its line after the commit. `manage.py erase` appends missing
lines, so that the file is complete even if a process was killed before that, or if the file was lost.
"""

import logging
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

from django.conf import settings

from devices.models import Erasure

LINE = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ) ([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}) ([0-9a-f]{64})")
TIME = "%Y-%m-%dT%H:%M:%SZ"
UNWRITABLE = "The erasure ledger can't be written: see ERASURE_LEDGER"

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


def try_to_add(entries: list[Entry]) -> bool:
    """Append lines to the ledger. Return whether that succeeded. Log a failure: `erase` tries again."""
    try:
        append(entries)
    except OSError:
        log.exception(UNWRITABLE)
        return False
    return True


def append(entries: list[Entry]) -> None:
    """Append lines to the ledger and sync it to disk. Raises OSError."""
    create()
    lines = "".join(f"{entry}\n" for entry in entries).encode()
    with open(settings.ERASURE_LEDGER, "a+b") as file:
        if size := file.seek(0, os.SEEK_END):
            file.seek(size - 1)
            if file.read(1) != b"\n":
                lines = b"\n" + lines  # end an incomplete last line
        file.write(lines)
        file.flush()
        os.fsync(file.fileno())


def create() -> None:
    """Create an empty ledger if there is none. Only its owner can read it. Raises OSError."""
    try:
        os.close(os.open(settings.ERASURE_LEDGER, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        return
    # Sync the directory, so that the new file survives a power failure.
    directory = os.open(Path(settings.ERASURE_LEDGER).parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def read(path: str | Path | None = None) -> Iterator[Entry | None]:
    """Yield the entries of a ledger (ERASURE_LEDGER), and None for each line that can't be read. Raises OSError."""
    with open(path or settings.ERASURE_LEDGER, encoding="ascii", errors="replace") as lines:
        for line in filter(str.strip, lines):
            match = LINE.fullmatch(line.strip())
            yield entry_of(match) if match else None


def entry_of(match: re.Match) -> Entry | None:
    try:
        requested_at = datetime.strptime(match[1], TIME).replace(tzinfo=UTC)
    except ValueError:  # such as February 30
        return None
    return Entry(requested_at, UUID(match[2]), match[3])
