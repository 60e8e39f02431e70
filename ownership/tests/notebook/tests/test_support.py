import pytest

from ownership.tests.notebook.admin import NoteAdmin
from ownership.tests.notebook.models import Line, Note
from support.models import AuditEntry
from support.tests import entries


def page(row, act: str = "change") -> str:
    return f"/admin/notebook/{row._meta.model_name}/{row.pk}/{act}/"


def send(support, row, act: str = "change", **sent):
    """Submit the form of a page, with the revision that the row has now."""
    seen = type(row).all_objects.get(pk=row.pk).revision
    return support.post(page(row, act), {"reason": "She asked for it.", "seen": seen, **sent})


class TestSupportUser:
    @pytest.mark.parametrize("fixture", ["stored_note", "stored_line"])
    def test_can_open_the_page_of_a_row(self, support, request, fixture):
        row = request.getfixturevalue(fixture)

        response = support.get(page(row))

        assert response.status_code == 200
        assert AuditEntry.objects.get().object_id == str(row.pk)

    @pytest.mark.parametrize(("fixture", "column"), [("stored_note", "title"), ("stored_line", "text")])
    def test_can_correct_a_row(self, support, request, fixture, column):
        row = request.getfixturevalue(fixture)

        send(support, row, **{column: "Corrected"})

        row.refresh_from_db()
        assert getattr(row, column) == "Corrected"
        assert entries.recorded_changes() == [f"Corrected {column}. She asked for it."]

    def test_can_delete_and_restore_a_row(self, support, api, stored_line):
        address = f"/v1/lines/{stored_line.pk}"

        send(support, stored_line, "soft-delete")
        deleted = api.get(address)
        send(support, stored_line, "restore")
        restored = api.get(address)

        assert (deleted.status_code, restored.status_code) == (404, 200)
        assert entries.recorded_changes() == ["Deleted. She asked for it.", "Restored. She asked for it."]

    def test_can_not_restore_a_line_of_a_deleted_note(self, support, api, stored_line):
        api.delete(f"/v1/notes/{stored_line.note_id}")

        send(support, stored_line, "restore")

        stored_line.refresh_from_db()
        assert stored_line.deleted_at is not None
        assert entries.recorded_changes() == []

    def test_sees_the_number_of_rows_of_a_device(self, support, device, line):
        response = support.get(f"/admin/devices/device/{device.pk}/change/").content.decode()

        assert "Notes: 1 live, 0 deleted" in response
        assert "<p>Lines: 1 of 10,000</p>" in response

    def test_reads_how_to_search_by_name_only_if_rows_have_a_name(self, support, monkeypatch):
        def help_text() -> str:
            return support.get("/admin/notebook/note/").context_data["cl"].search_help_text

        with_name = help_text()
        monkeypatch.setattr(NoteAdmin, "name_column", None)
        without_name = help_text()

        assert "part of the name" in with_name
        assert without_name in with_name
        assert "name" not in without_name

    @pytest.mark.parametrize("model", [Note, Line])
    def test_can_not_add_a_row(self, support, model):
        assert support.get(f"/admin/notebook/{model._meta.model_name}/add/").status_code == 403
