"""Salt the hash of UUIDs, so that nobody can choose ids that collide.

Python's own `hash(UUID)` is the id modulo 2**61 - 1, without a salt. Clients choose the ids of their rows: the ids
r + k * (2**61 - 1) all have one hash, and a dict or a set of n of them takes n² steps. Ids are the keys of dicts and
sets here, in Django and in the database driver, so the type itself is repaired rather than each container.
docs/decisions/0015-uuid-hashes-are-salted.md says why.
"""

from uuid import UUID


def salted_hash(self: UUID) -> int:
    """Return the hash of the id's bytes, whose salt Python makes for each process (PYTHONHASHSEED)."""
    return hash(self.bytes)


UUID.__hash__ = salted_hash
