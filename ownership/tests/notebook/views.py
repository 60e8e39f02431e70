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
    def filter_queryset(cls, queryset: QuerySet) -> QuerySet:
        return queryset.order_by("created_at", "id")

    def perform_create(self, **values) -> Note:
        note = Note.new(device_id=self.device.pk, **values)
        note.save()
        return note


@extend_schema(tags=["notebook"])
class LineViewSet(DeviceOwnedViewSet):
    model = Line
    serializer_class = LineSerializer
    conflicts = ("create", "restore")

    @cached_property
    def note(self) -> Note:
        return self.live_rows.get_or_404(Note, self.kwargs["note_id"])

    def validate_query(self, *args) -> dict:
        return super().validate_query(*args) | {"note": self.note.pk}

    @classmethod
    def filter_queryset(cls, queryset: QuerySet, *, note) -> QuerySet:
        return queryset.filter(note=note).order_by("created_at", "id")

    def perform_create(self, **values) -> Line:
        line = Line.new(device_id=self.device.pk, note_id=self.note.pk, **values)
        line.save()
        return line
