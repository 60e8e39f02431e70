"""The cursor of a pull or push: `last_pulled_at`, compared with the state of the device."""

from dataclasses import dataclass
from typing import Self

from countonme.api.errors import InvalidToken
from devices.models import Device


@dataclass(frozen=True)
class Cursor:
    """The revision of a client's last pull (`since`; 0 if there was none), and the current state of the device."""

    since: int
    revision: int
    purged_through: int
    is_before_a_restore: bool

    @classmethod
    def of(cls, device: Device, since: int) -> Self:
        """Read the device's row; raise InvalidToken if the device is deleted."""
        row = Device.objects.state(device.pk, since)
        if row is None:
            raise InvalidToken
        return cls(since, *row)

    @property
    def is_lost(self) -> bool:
        """Whether the client may have writes that the server lost in a restore.

        This includes a client whose last pull was before the backup, because it may have pushed after that pull.
        """
        return self.since > self.revision or (self.since > 0 and self.is_before_a_restore)

    @property
    def is_purged(self) -> bool:
        """Whether tombstones that the client has not pulled have been purged."""
        return self.since < self.purged_through
