from ownership.tests.notebook.serializers import LineSerializer, NoteSerializer
from sync.registry import SyncTable, register
from sync.serializers import RowIdField, RowSerializer


class NoteRow(RowSerializer, NoteSerializer):
    class Meta(NoteSerializer.Meta):
        fields = ("id", "title")


class LineRow(RowSerializer, LineSerializer):
    note_id = RowIdField()

    class Meta(LineSerializer.Meta):
        fields = ("id", "note_id", "text")


@register
class Lines(SyncTable):
    name = "lines"
    serializer_class = LineRow
    parent_column = "note_id"


@register
class Notes(SyncTable):
    name = "notes"
    serializer_class = NoteRow
