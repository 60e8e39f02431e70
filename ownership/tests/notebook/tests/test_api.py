from uuid import uuid4

import pytest
from django.urls import reverse
from drf_spectacular.generators import SchemaGenerator


class TestRoutes:
    @pytest.mark.parametrize(
        ("name", "arguments", "path"),
        [
            ("notes", {}, "/v1/notes"),
            ("note", {"pk": uuid4()}, "/v1/notes/{pk}"),
            ("note-restore", {"pk": uuid4()}, "/v1/notes/{pk}/restore"),
            ("lines", {"note_id": uuid4()}, "/v1/notes/{note_id}/lines"),
            ("line", {"pk": uuid4()}, "/v1/lines/{pk}"),
            ("line-restore", {"pk": uuid4()}, "/v1/lines/{pk}/restore"),
        ],
    )
    def test_have_names(self, name, arguments, path):
        assert reverse(name, kwargs=arguments) == path.format(**arguments)


class TestNote:
    def test_can_be_created_changed_listed_and_deleted(self, api, note):
        address = f"/v1/notes/{note['id']}"

        changed = api.patch(address, {"title": "Party"})

        assert changed.json()["title"] == api.get(address).json()["title"] == "Party"
        assert [one["title"] for one in api.get("/v1/notes").json()] == ["Party"]
        assert api.delete(address).status_code == 204
        assert api.get(address).status_code == 404

    def test_is_deleted_with_its_lines(self, api, note, line):
        api.delete(f"/v1/notes/{note['id']}")

        assert api.get(f"/v1/lines/{line['id']}").status_code == 404

    def test_is_restored_with_the_lines_that_were_deleted_with_it(self, api, note, line):
        address = f"/v1/notes/{note['id']}"
        earlier = api.post(f"{address}/lines", {"text": "Salt"}).json()
        api.delete(f"/v1/lines/{earlier['id']}")
        api.delete(address)

        response = api.post(f"{address}/restore")

        assert (response.status_code, response.json()) == (200, api.get(address).json())
        assert [one["text"] for one in api.get(f"{address}/lines").json()] == ["Bread"]

    def test_returns_422_without_a_title(self, api):
        response = api.post("/v1/notes", {"title": ""})

        assert response.status_code == 422
        assert response.json()["errors"][0]["loc"] == ["title"]


class TestLine:
    def test_can_be_restored(self, api, line):
        address = f"/v1/lines/{line['id']}"
        api.delete(address)

        restored, again = api.post(f"{address}/restore"), api.post(f"{address}/restore")

        assert restored.status_code == again.status_code == 200
        assert restored.json() == again.json() == api.get(address).json()

    def test_can_not_be_restored_without_its_note(self, api, note, line):
        api.delete(f"/v1/notes/{note['id']}")

        response = api.post(f"/v1/lines/{line['id']}/restore")

        detail = "Its note is deleted. Restore that first."
        assert (response.status_code, response.json()["detail"]) == (409, detail)


class TestRowsOfAnotherDevice:
    def test_return_404(self, api, other_api, note, line, all_rows):
        before = all_rows()

        for address in (f"/v1/notes/{note['id']}", f"/v1/lines/{line['id']}"):
            for answer in (
                other_api.get(address),
                other_api.patch(address, {"title": "Mine", "text": "Mine"}),
                other_api.delete(address),
                other_api.post(f"{address}/restore"),
            ):
                assert answer.status_code == 404
        assert other_api.post(f"/v1/notes/{note['id']}/lines", {"text": "Mine"}).status_code == 404
        assert other_api.get("/v1/notes").json() == []
        assert all_rows() == before


class TestConditionalRead:
    @pytest.mark.parametrize("address", ["/v1/notes", "/v1/notes/{note_id}", "/v1/notes/{note_id}/lines"])
    def test_returns_304_until_something_changes(self, api, note, line, address):
        address = address.format(**line)
        etag = api.get(address)["ETag"]

        unchanged = api.get(address, headers={"If-None-Match": etag})
        api.patch(f"/v1/lines/{line['id']}", {"text": "Rye bread"})
        changed = api.get(address, headers={"If-None-Match": etag})

        assert (unchanged.status_code, changed.status_code) == (304, 200)
        assert changed["ETag"] != etag


class TestOpenAPI:
    @pytest.fixture
    def document(self) -> dict:
        return SchemaGenerator().get_schema(request=None, public=True)

    def test_has_the_operations(self, document):
        rows = {"/v1/notes", "/v1/notes/{id}", "/v1/notes/{note_id}/lines", "/v1/lines/{id}"}

        assert rows | {"/v1/notes/{id}/restore", "/v1/lines/{id}/restore"} <= document["paths"].keys()

    def test_names_the_operations_after_the_model(self, document):
        by_path = {
            path: {method: operation["operationId"] for method, operation in document["paths"][path].items()}
            for path in ("/v1/notes", "/v1/notes/{id}", "/v1/notes/{id}/restore")
        }

        assert by_path["/v1/notes"] == {"get": "listNotes", "post": "createNote"}
        assert by_path["/v1/notes/{id}"] == {
            "get": "getNote",
            "put": "putNote",
            "patch": "updateNote",
            "delete": "deleteNote",
        }
        assert by_path["/v1/notes/{id}/restore"] == {"post": "restoreNote"}

    def test_has_the_sync_tables(self, document):
        schemas = document["components"]["schemas"]

        for name in ("PulledChanges", "PushedChangesRequest"):
            assert {"notes", "lines"} <= schemas[name]["properties"].keys()
        assert schemas["LineRow"]["properties"].keys() == {"id", "note_id", "text"}
