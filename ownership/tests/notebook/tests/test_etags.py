from uuid import uuid4

import pytest
from django.db import OperationalError, connection
from django.utils import timezone

from devices import authentication, verdicts
from devices.models import Attempts, Device
from ownership import etags
from ownership.tests.notebook.tests.factories import LineFactory, NoteFactory

NOTES = "/v1/notes"


@pytest.fixture
def known(api) -> str:
    """What the device's notes are called as they are now."""
    return api.get(NOTES)["ETag"]


def asked(client, etag: str, path=NOTES, **kwargs):
    return client.get(path, headers={"If-None-Match": etag, **kwargs})


class TestARead:
    def test_is_named_weakly_and_privately(self, api, device):
        NoteFactory(device=device)

        response = api.get(NOTES)

        assert response.status_code == 200
        assert response["ETag"].startswith('W/"')
        assert response["ETag"].endswith('"')
        assert response["Cache-Control"] == "private, no-cache"
        assert "Authorization" in response["Vary"].split(", ")

    def test_gets_304_with_its_name(self, api, device, known):
        response = asked(api, known)

        assert response.status_code == 304
        assert response.content == b""
        assert response["ETag"] == known
        assert response["Cache-Control"] == "private, no-cache"
        assert "Authorization" in response["Vary"].split(", ")
        assert "Content-Type" not in response

    @pytest.mark.parametrize(
        "form",
        ["{}", "{strong}", '"other", {}', '{}, "other"', '"a","b" ,  {}  , W/"c"', " {} "],
        ids=["weak", "strong", "last", "first", "in the middle", "with spaces"],
    )
    def test_gets_304_in_every_form_of_its_name(self, api, known, form):
        response = asked(api, form.format(known, strong=known.removeprefix("W/")))

        assert response.status_code == 304

    @pytest.mark.parametrize("form", ["*", " * ", "", '""', 'W/"', '"other"', "garbage", '"é"', ",,,"], ids=repr)
    def test_gets_200_with_anything_else(self, api, known, form):
        response = asked(api, form)

        assert response.status_code == 200
        assert response.json() == []
        assert response["ETag"] == known

    def test_gets_200_with_its_name_without_quotes(self, api, known):
        assert asked(api, known.removeprefix("W/").strip('"')).status_code == 200

    @pytest.mark.parametrize(
        "path",
        [
            "/v1/notes",
            "/v1/notes?limit=5",
            "/v1/notes/{note}",
            "/v1/notes/{note}/lines",
            "/v1/lines/{line}",
        ],
    )
    def test_costs_one_query_where_it_is_a_304(self, api, device, path, django_assert_num_queries):
        line = LineFactory(device=device)
        path = path.format(note=line.note_id, line=line.pk)
        read = api.get(path)

        with django_assert_num_queries(1):  # the device, with its revision
            response = asked(api, read["ETag"], path)

        assert read.status_code == 200
        assert response.status_code == 304
        assert response.content == b""

    def test_gets_304_with_its_name_by_head(self, api, known):
        response = api.head(NOTES, headers={"If-None-Match": known})

        assert (response.status_code, response["ETag"]) == (304, known)

    def test_gets_304_where_its_token_is_met_for_the_first_time(self, api, known):
        verdicts.here.clear()

        assert asked(api, known).status_code == 304


class TestWhoNamesAnAnswer:
    """The caller is found out before its view is: what is wrong is told as it always is."""

    @pytest.mark.parametrize("sent", [None, "*", "known"])
    def test_is_refused_as_anybody_is_and_counted_once(self, api, known, sent):
        api.use(f"{api.token.partition('.')[0]}.{'A' * 43}")

        response = api.get(NOTES, headers={"If-None-Match": known if sent == "known" else sent} if sent else {})

        assert response.status_code == 401
        assert response.json() == {"detail": "Invalid or expired token"}
        assert response["WWW-Authenticate"] == "Bearer"
        assert "ETag" not in response
        assert [len(attempts.moments) for attempts in Attempts.objects.all()] == [1]

    def test_is_refused_when_it_is_blocked(self, api, device, known):
        Device.objects.filter(pk=device.pk).update(blocked_at=timezone.now())

        response = asked(api, known)

        assert response.status_code == 403
        assert response.json() == {"detail": "This device is blocked. Contact support."}
        assert "ETag" not in response

    @pytest.mark.parametrize("token", ["", "nonsense"])
    def test_is_told_that_there_is_nothing_here(self, api, known, token):
        api.use(token)

        assert asked(api, known, "/v1/nothing").status_code == 404
        assert asked(api, known, "/healthz").status_code == 200

    def test_is_told_that_the_database_is_away(self, api, known, monkeypatch):
        def away(**_):
            raise OperationalError("The database has not answered.")

        monkeypatch.setattr(authentication.devices_by_id, "models", away)

        response = asked(api, known)

        assert (response.status_code, response["Retry-After"]) == (503, "5")
        assert response.json() == {"detail": "Service unavailable"}

    def test_is_looked_up_once_where_the_answer_is_another(self, api, device, django_assert_num_queries):
        with django_assert_num_queries(2):  # the device and its notes
            response = asked(api, '"another"')

        assert response.status_code == 200


class TestTheName:
    def test_holds_for_one_device(self, api, stranger, known):
        response = asked(stranger, known)

        assert response.status_code == 200
        assert response["ETag"] != known

    @pytest.mark.parametrize("path", ["/v1/notes/{id}/lines", "/v1/notes?limit=50", "/v1/notes?search=a"])
    def test_holds_for_one_address(self, api, note, known, path):
        response = asked(api, known, path.format(**note))

        assert response.status_code == 200
        assert response["ETag"] != known

    def test_holds_for_one_order_of_the_query(self, api):
        first, second = api.get("/v1/notes?limit=1&offset=2"), api.get("/v1/notes?limit=2&offset=1")

        assert first["ETag"] != second["ETag"]

    def test_holds_for_one_host(self, api, known, settings):
        settings.ALLOWED_HOSTS = ["testserver", "other.example"]

        assert asked(api, known, Host="other.example").status_code == 200

    def test_holds_for_one_representation(self, api, known, monkeypatch):
        monkeypatch.setattr(etags, "REPRESENTATION", etags.REPRESENTATION + 1)

        response = asked(api, known)

        assert response.status_code == 200
        assert response["ETag"] != known

    def test_holds_until_a_row_is_born(self, api, known):
        api.post(NOTES, {"title": "Party"})

        response = asked(api, known)

        assert response.status_code == 200
        assert [note["title"] for note in response.json()] == ["Party"]
        assert response["ETag"] != known

    def test_holds_until_a_row_changes_or_goes(self, api, device):
        note = NoteFactory(device=device)
        names = [api.get(NOTES)["ETag"]]

        for write in (
            lambda: api.patch(f"/v1/notes/{note.pk}", {"title": "Party"}),
            lambda: api.post(f"/v1/notes/{note.pk}/lines", {"text": "Bread"}),
            lambda: api.delete(f"/v1/notes/{note.pk}"),
        ):
            assert write().status_code in (200, 201, 204)
            response = asked(api, names[-1])
            assert response.status_code == 200
            names.append(response["ETag"])

        assert len(set(names)) == 4

    def test_holds_through_writes_that_change_nothing(self, api, device):
        sent = {"id": str(uuid4()), "title": "Party"}
        api.post(NOTES, sent)
        known = api.get(NOTES)["ETag"]

        assert api.post(NOTES, sent).status_code == 200
        assert api.patch(f"/v1/notes/{sent['id']}", sent).status_code == 200
        assert api.post(NOTES, {"title": ""}).status_code == 422
        assert api.delete(f"/v1/notes/{uuid4()}").status_code == 404

        assert asked(api, known).status_code == 304

    def test_holds_through_writes_of_another_device(self, api, stranger, known):
        stranger.post(NOTES, {"title": "Party"})

        assert asked(api, known).status_code == 304

    def test_holds_through_a_new_token(self, api, known):
        api.use(api.post("/v1/auth/rotate").json()["token"])

        assert asked(api, known).status_code == 304

    def test_is_never_newer_than_what_it_names(self, api, device):
        """A row that is written after the device was read is in the answer, whose name is then of the time before."""
        born = []

        def write_first(execute, sql, *args):
            if 'FROM "notes"' in sql and not born:
                born.append(device)
                NoteFactory(device=device, title="Party")
            return execute(sql, *args)

        with connection.execute_wrapper(write_first):
            read = api.get(NOTES)

        again = asked(api, read["ETag"])
        assert [note["title"] for note in read.json()] == ["Party"]
        assert again.status_code == 200
        assert again["ETag"] != read["ETag"]


class TestWhatHasNoName:
    @pytest.mark.parametrize(
        ("method", "path", "status"),
        [
            ("GET", "/v1/notes?limit=0", 422),
            ("GET", "/v1/notes/0d9c3c5e-3f2b-4c41-9b0e-6a3b6a6f2c11", 404),
            ("GET", "/v1/notes/0d9c3c5e-3f2b-4c41-9b0e-6a3b6a6f2c11/lines", 404),
            ("GET", "/v1/devices/me", 200),
            ("POST", "/v1/notes", 400),
            ("PUT", "/v1/notes", 405),
            ("DELETE", "/v1/devices/me", 204),
        ],
    )
    def test_is_every_other_answer(self, api, method, path, status):
        response = api.generic(method, path)

        assert response.status_code == status
        assert "ETag" not in response

    def test_is_a_row_that_was_just_written(self, api):
        response = api.post(NOTES, {"title": "Party"})

        assert response.status_code == 201
        assert "ETag" not in response

    def test_is_a_refusal_for_want_of_a_token(self, anonymous, known):
        response = asked(anonymous, known)

        assert response.status_code == 401
        assert "ETag" not in response

    def test_is_the_device(self, api, device, known):
        first = api.get("/v1/devices/me")

        response = asked(api, f'{known}, W/"x", *', "/v1/devices/me")

        assert response.status_code == 200
        assert response.json() == first.json()

    def test_is_a_row_that_is_gone(self, api, device):
        note = NoteFactory(device=device)
        path = f"/v1/notes/{note.pk}"
        known = api.get(path)["ETag"]
        api.delete(path)

        response = asked(api, known, path)

        assert response.status_code == 404
        assert response.json() == {"detail": "Note not found"}
        assert "ETag" not in response

    def test_is_a_write_that_asks_for_none(self, api, known):
        response = api.post(NOTES, {"title": "Party"}, headers={"If-None-Match": known})

        assert response.status_code == 201
