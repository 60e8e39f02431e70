"""The decision table of a push: what to do with one pushed row or one deletion. It runs no queries."""

from enum import Enum

from ownership.models import DeviceOwned
from sync.push.payload import PushedRow


class Verdict(Enum):
    UPSERT = "create or update the row"
    DELETE = "make the row a tombstone"
    REDELETE = "the row stays deleted, and the client pulls its deletion again"
    NOTHING = "the server already has this state"
    CONFLICT = "the row has changed since the client's last pull, so the whole push is refused"


def verdict(stored: DeviceOwned | None, pushed: PushedRow, *, since: int, stale: bool) -> Verdict:
    """Return what to do with a pushed row. `stored` is the server's row, live or deleted.

    The client has pulled all changes up to revision `since`. If `stale`, a purge or a restore has made that invalid.
    """
    if stale:
        return Verdict.CONFLICT
    if stored is None:
        return Verdict.UPSERT
    if stored.revision <= since:
        return Verdict.UPSERT if stored.deleted_at is None else Verdict.REDELETE
    if stored.deleted_at is None and pushed.equals(stored):
        return Verdict.NOTHING
    return Verdict.CONFLICT


def deletion_verdict(live_revision: int | None, *, since: int, stale: bool) -> Verdict:
    """Return what to do with a deletion. `live_revision` is the revision of the stored row; None if none is live."""
    if stale:
        return Verdict.CONFLICT
    if live_revision is None:
        return Verdict.NOTHING
    return Verdict.DELETE if live_revision <= since else Verdict.CONFLICT
