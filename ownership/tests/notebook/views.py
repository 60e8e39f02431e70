from django.db.models import QuerySet
from django.utils.functional import cached_property
from drf_spectacular.utils import extend_schema

from ownership.tests.notebook.models import Line, Note
from ownership.tests.notebook.serializers import LineSerializer, NoteSerializer
from ownership.viewsets import DeviceOwnedViewSet


@extend_schema(tags=["notebook"])
class NoteViewSet(DeviceOwnedViewSet):
    model = Note
    serializer_class = NoteSerializer

    @classmethod
    def narrowed(cls, rows: QuerySet) -> QuerySet:
        return rows.order_by("created_at", "id")

    def added(self, **values) -> Note:
        note = Note.new(device_id=self.device.pk, **values)
        note.save()
        return note


@extend_schema(tags=["notebook"])
class LineViewSet(DeviceOwnedViewSet):
    model = Line
    serializer_class = LineSerializer

    @cached_property
    def note(self) -> Note:
        return NoteViewSet(request=self.request).row(self.kwargs["note_id"])

    def checked_query(self, *args) -> dict:
        return super().checked_query(*args) | {"note": self.note.pk}

    @classmethod
    def narrowed(cls, rows: QuerySet, *, note) -> QuerySet:
        return rows.filter(note=note).order_by("created_at", "id")

    def added(self, **values) -> Line:
        line = Line.new(device_id=self.device.pk, note_id=self.note.pk, **values)
        line.save()
        return line
