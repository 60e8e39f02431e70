from django.urls import path

from ownership.tests.notebook.views import LineViewSet, NoteViewSet
from ownership.viewsets import RESTORE, ROW, ROWS

urlpatterns = [
    path("notes", NoteViewSet.as_view(ROWS), name="notes"),
    path("notes/<row_id:pk>", NoteViewSet.as_view(ROW), name="note"),
    path("notes/<row_id:pk>/restore", NoteViewSet.as_view(RESTORE), name="note-restore"),
    path("notes/<row_id:note_id>/lines", LineViewSet.as_view(ROWS), name="lines"),
    path("lines/<row_id:pk>", LineViewSet.as_view(ROW), name="line"),
    path("lines/<row_id:pk>/restore", LineViewSet.as_view(RESTORE), name="line-restore"),
]
