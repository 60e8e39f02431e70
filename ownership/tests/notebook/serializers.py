from countonme.api.fields import IdField
from ownership.serializers import OwnedSerializer
from ownership.tests.notebook.models import Line, Note


class NoteSerializer(OwnedSerializer):
    class Meta:
        model = Note
        fields = ("id", "title", "created_at", "updated_at")
        read_only_fields = ("created_at", "updated_at")


class LineSerializer(OwnedSerializer):
    note_id = IdField(read_only=True)

    class Meta:
        model = Line
        fields = ("id", "note_id", "text", "created_at", "updated_at")
        read_only_fields = ("created_at", "updated_at")
