from django.contrib import admin

from ownership.tests.notebook.models import Line, Note
from support.owned_admin import OwnedAdmin


@admin.register(Note)
class NoteAdmin(OwnedAdmin):
    list_display = ("title", "deleted_at")
    name_search = "title__icontains"
    mended = ("title",)


@admin.register(Line)
class LineAdmin(OwnedAdmin):
    list_display = ("text", "deleted_at")
    name_search = "text__icontains"
    mended = ("text",)
    shown = ("note",)
