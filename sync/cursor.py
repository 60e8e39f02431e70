from dataclasses import dataclass
from typing import Self

from countonme.api.errors import InvalidToken
from devices.models import Device


@dataclass(frozen=True)
class Cursor:
    """How far a phone knows a device's changes (`since`, 0 for not at all), beside how far they go."""

    since: int
    revision: int
    purged_through: int
    is_before_a_restore: bool

    @classmethod
    def of(cls, device: Device, since: int) -> Self:
        """Read the device's row; raise InvalidToken where the device is deleted."""
        row = Device.objects.state(device.pk, since)
        if row is None:
            raise InvalidToken
        return cls(since, *row)

    @property
    def is_lost(self) -> bool:
        """Say whether the phone may know of writes that a restore lost: it may be the only one that has them.

        A phone that knows no more than the backup is one too, since it may have pushed after its last pull.
        """
        return self.since > self.revision or (self.since > 0 and self.is_before_a_restore)

    @property
    def is_purged(self) -> bool:
        """Say whether a deletion that the phone has not heard of can't be told any more."""
        return self.since < self.purged_through
