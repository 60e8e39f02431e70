from django.db import models

from countonme.api.errors import Conflict
from countonme.db.constraints import within
from ownership.models import DeviceOwned

TITLE_LENGTH = (1, 80)
TEXT_LENGTH = (1, 200)


class Note(DeviceOwned):
    quota_setting = "MAX_NOTES"

    title = models.CharField(max_length=TITLE_LENGTH[1])

    class Meta(DeviceOwned.Meta):
        db_table = "notes"
        default_related_name = "notes"
        constraints = [*DeviceOwned.Meta.constraints, within("title__length", TITLE_LENGTH)]

    def __str__(self) -> str:
        return self.title

    def soft_delete(self) -> None:
        """Delete the note and its lines."""
        Line.objects.for_device(self.device_id).filter(note=self).soft_delete()
        super().soft_delete()

    def restore(self) -> None:
        """Restore the note and the lines that were deleted with it."""
        lines = Line.all_objects.for_device(self.device_id).filter(note=self).deleted_with(self)
        super().restore()
        lines.update(deleted_at=None)


class Line(DeviceOwned):
    """A line of a note."""

    quota_setting = "MAX_LINES"

    note = models.ForeignKey(Note, on_delete=models.PROTECT, db_index=False)
    text = models.CharField(max_length=TEXT_LENGTH[1])

    class Meta(DeviceOwned.Meta):
        db_table = "lines"
        default_related_name = "lines"
        indexes = [*DeviceOwned.Meta.indexes, models.Index(fields=["device", "note"], name="line_by_note")]
        constraints = [*DeviceOwned.Meta.constraints, within("text__length", TEXT_LENGTH)]

    def __str__(self) -> str:
        return self.text

    def restore(self) -> None:
        if self.note.deleted_at is not None:
            raise Conflict("Its note is deleted. Restore that first.")
        super().restore()
