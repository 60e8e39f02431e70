"""Salt the hash of UUIDs, so that clients can't choose ids that collide.

Python's `hash(UUID)` is the id modulo 2**61 - 1, without a salt. Clients choose the ids of their rows: the ids
r + k * (2**61 - 1) all have the same hash, and a dict or a set of n of them takes n² steps. Ids are keys of dicts and
sets in this code, in Django and in the database driver, so the type itself is changed and not each container. See
docs/decisions/0015-uuid-hashes-are-salted.md.
"""

from uuid import UUID


def salted_hash(self: UUID) -> int:
    """Return the hash of the id's bytes, which Python salts for each process (PYTHONHASHSEED)."""
    return hash(self.bytes)


UUID.__hash__ = salted_hash
