from uuid import uuid4

from tests.harness.sync import ALL_STORED, NOTHING, errors_of, pull_changes, push, push_ok, revision


def note() -> dict:
    return {"id": str(uuid4()), "title": "Shopping"}


def line(of: dict) -> dict:
    return {"id": str(uuid4()), "note_id": of["id"], "text": "Bread"}


class TestPush:
    def test_stores_a_note_with_its_line(self, api):
        shopping = note()
        bread = line(shopping)

        answer = push_ok(api, lines={"created": [bread]}, notes={"created": [shopping]})

        assert answer == ALL_STORED
        assert api.get(f"/v1/notes/{shopping['id']}").json()["title"] == "Shopping"
        assert api.get(f"/v1/lines/{bread['id']}").json()["text"] == "Bread"

    def test_changes_and_deletes(self, api, note, line):
        push_ok(
            api,
            revision(api),
            notes={"updated": [{"id": note["id"], "title": "Party"}]},
            lines={"deleted": [line["id"]]},
        )

        assert api.get(f"/v1/notes/{note['id']}").json()["title"] == "Party"
        assert api.get(f"/v1/lines/{line['id']}").status_code == 404

    def test_deletes_the_lines_of_a_deleted_note(self, api, note, line):
        push_ok(api, revision(api), notes={"deleted": [note["id"]]})

        assert api.get(f"/v1/lines/{line['id']}").status_code == 404

    def test_returns_409_if_a_row_has_changed_since(self, api, note):
        since = revision(api)
        api.patch(f"/v1/notes/{note['id']}", {"title": "Party"})

        response = push(api, since, notes={"updated": [{"id": note["id"], "title": "Garden"}]})

        assert response.status_code == 409
        assert response.json()["conflicts"] == {"notes": [note["id"]]}

    def test_rejects_a_line_of_another_devices_note(self, api, other_api, note):
        theirs = line(note)

        answer = push_ok(other_api, lines={"created": [theirs]})

        assert errors_of(answer) == [("lines", theirs["id"], [("note_id", "does_not_exist")])]

    def test_rejects_rows_over_a_quota(self, api, settings, note):
        settings.MAX_LINES = 1
        first, second = line(note), line(note)

        answer = push_ok(api, lines={"created": [first, second]})

        assert errors_of(answer) == [("lines", second["id"], [("quota",)])]


class TestPull:
    def test_returns_changed_rows(self, api, note, line):
        changes = pull_changes(api)["changes"]

        assert changes["notes"]["updated"] == [{"id": note["id"], "title": "Shopping"}]
        assert changes["lines"]["updated"] == [{"id": line["id"], "note_id": note["id"], "text": "Bread"}]

    def test_returns_tombstones(self, api, note, line):
        since = revision(api)
        api.delete(f"/v1/lines/{line['id']}")

        changes = pull_changes(api, since)["changes"]

        assert changes["lines"] == NOTHING | {"deleted": [line["id"]]}
        assert changes["notes"] == NOTHING
