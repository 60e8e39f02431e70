from django.contrib import admin

from ownership.tests.notebook.models import Line, Note
from support.owned_admin import OwnedAdmin


@admin.register(Note)
class NoteAdmin(OwnedAdmin):
    list_display = ("title", "deleted_at")
    name_column = "title"
    correctable_fields = ("title",)


@admin.register(Line)
class LineAdmin(OwnedAdmin):
    list_display = ("text", "deleted_at")
    name_column = "text"
    correctable_fields = ("text",)
    displayed_fields = ("note",)
