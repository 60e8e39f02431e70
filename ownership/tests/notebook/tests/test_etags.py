from uuid import uuid4

import pytest
from django.db import OperationalError, connection
from django.utils import timezone

from devices import authentication, token_cache
from devices.models import Attempts, Device
from ownership import etags
from ownership.tests.notebook.tests.factories import LineFactory, NoteFactory

NOTES = "/v1/notes"


@pytest.fixture
def known(api) -> str:
    """The current ETag of the device's notes."""
    return api.get(NOTES)["ETag"]


def get_if_none_match(client, etag: str, path=NOTES, **kwargs):
    return client.get(path, headers={"If-None-Match": etag, **kwargs})


class TestRead:
    def test_has_a_weak_etag_and_is_private(self, api, device):
        NoteFactory(device=device)

        response = api.get(NOTES)

        assert response.status_code == 200
        assert response["ETag"].startswith('W/"')
        assert response["ETag"].endswith('"')
        assert response["Cache-Control"] == "private, no-cache"
        assert "Authorization" in response["Vary"].split(", ")

    def test_returns_304_if_the_etag_matches(self, api, device, known):
        response = get_if_none_match(api, known)

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
    def test_returns_304_for_each_form_of_if_none_match(self, api, known, form):
        response = get_if_none_match(api, form.format(known, strong=known.removeprefix("W/")))

        assert response.status_code == 304

    @pytest.mark.parametrize("form", ["*", " * ", "", '""', 'W/"', '"other"', "garbage", '"é"', ",,,"], ids=repr)
    def test_returns_200_if_the_etag_does_not_match(self, api, known, form):
        response = get_if_none_match(api, form)

        assert response.status_code == 200
        assert response.json() == []
        assert response["ETag"] == known

    def test_returns_200_for_an_etag_without_quotes(self, api, known):
        assert get_if_none_match(api, known.removeprefix("W/").strip('"')).status_code == 200

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
    def test_takes_one_query_for_a_304(self, api, device, path, django_assert_num_queries):
        line = LineFactory(device=device)
        path = path.format(note=line.note_id, line=line.pk)
        read = api.get(path)

        with django_assert_num_queries(1):  # the device, with its revision
            response = get_if_none_match(api, read["ETag"], path)

        assert read.status_code == 200
        assert response.status_code == 304
        assert response.content == b""

    def test_returns_304_to_head(self, api, known):
        response = api.head(NOTES, headers={"If-None-Match": known})

        assert (response.status_code, response["ETag"]) == (304, known)

    def test_returns_304_if_the_token_is_not_cached(self, api, known):
        token_cache.local_cache.clear()

        assert get_if_none_match(api, known).status_code == 304


class TestAuthentication:
    """The device is authenticated before the view is looked up. Errors are the same as without `If-None-Match`."""

    @pytest.mark.parametrize("sent", [None, "*", "known"])
    def test_returns_401_for_a_wrong_token_and_counts_it_once(self, api, known, sent):
        api.use(f"{api.token.partition('.')[0]}.{'A' * 43}")

        response = api.get(NOTES, headers={"If-None-Match": known if sent == "known" else sent} if sent else {})

        assert response.status_code == 401
        assert response.json() == {"detail": "Invalid or expired token"}
        assert response["WWW-Authenticate"] == "Bearer"
        assert "ETag" not in response
        assert [len(attempts.moments) for attempts in Attempts.objects.all()] == [1]

    def test_returns_403_if_the_device_is_blocked(self, api, device, known):
        Device.objects.filter(pk=device.pk).update(blocked_at=timezone.now())

        response = get_if_none_match(api, known)

        assert response.status_code == 403
        assert response.json() == {"detail": "This device is blocked. Contact support."}
        assert "ETag" not in response

    @pytest.mark.parametrize("token", ["", "nonsense"])
    def test_is_not_checked_for_paths_without_authentication(self, api, known, token):
        api.use(token)

        assert get_if_none_match(api, known, "/v1/nothing").status_code == 404
        assert get_if_none_match(api, known, "/healthz").status_code == 200

    def test_returns_503_if_the_database_is_unavailable(self, api, known, monkeypatch):
        def away(**_):
            raise OperationalError("The database has not answered.")

        monkeypatch.setattr(authentication.devices_by_id, "models", away)

        response = get_if_none_match(api, known)

        assert (response.status_code, response["Retry-After"]) == (503, "5")
        assert response.json() == {"detail": "Service unavailable"}

    def test_reads_the_device_once_if_the_etag_does_not_match(self, api, device, django_assert_num_queries):
        with django_assert_num_queries(2):  # the device and its notes
            response = get_if_none_match(api, '"another"')

        assert response.status_code == 200


class TestETag:
    def test_differs_between_devices(self, api, other_api, known):
        response = get_if_none_match(other_api, known)

        assert response.status_code == 200
        assert response["ETag"] != known

    @pytest.mark.parametrize("path", ["/v1/notes/{id}/lines", "/v1/notes?limit=50", "/v1/notes?search=a"])
    def test_differs_between_urls(self, api, note, known, path):
        response = get_if_none_match(api, known, path.format(**note))

        assert response.status_code == 200
        assert response["ETag"] != known

    def test_differs_between_query_strings(self, api):
        first, second = api.get("/v1/notes?limit=1&offset=2"), api.get("/v1/notes?limit=2&offset=1")

        assert first["ETag"] != second["ETag"]

    def test_differs_between_hosts(self, api, known, settings):
        settings.ALLOWED_HOSTS = ["testserver", "other.example"]

        assert get_if_none_match(api, known, Host="other.example").status_code == 200

    def test_differs_between_representations(self, api, known, monkeypatch):
        monkeypatch.setattr(etags, "REPRESENTATION", etags.REPRESENTATION + 1)

        response = get_if_none_match(api, known)

        assert response.status_code == 200
        assert response["ETag"] != known

    def test_changes_if_a_row_is_created(self, api, known):
        api.post(NOTES, {"title": "Party"})

        response = get_if_none_match(api, known)

        assert response.status_code == 200
        assert [note["title"] for note in response.json()] == ["Party"]
        assert response["ETag"] != known

    def test_changes_if_a_row_is_changed_or_deleted(self, api, device):
        note = NoteFactory(device=device)
        names = [api.get(NOTES)["ETag"]]

        for write in (
            lambda: api.patch(f"/v1/notes/{note.pk}", {"title": "Party"}),
            lambda: api.post(f"/v1/notes/{note.pk}/lines", {"text": "Bread"}),
            lambda: api.delete(f"/v1/notes/{note.pk}"),
        ):
            assert write().status_code in (200, 201, 204)
            response = get_if_none_match(api, names[-1])
            assert response.status_code == 200
            names.append(response["ETag"])

        assert len(set(names)) == 4

    def test_stays_the_same_if_nothing_changes(self, api, device):
        sent = {"id": str(uuid4()), "title": "Party"}
        api.post(NOTES, sent)
        known = api.get(NOTES)["ETag"]

        assert api.post(NOTES, sent).status_code == 200
        assert api.patch(f"/v1/notes/{sent['id']}", sent).status_code == 200
        assert api.post(NOTES, {"title": ""}).status_code == 422
        assert api.delete(f"/v1/notes/{uuid4()}").status_code == 404

        assert get_if_none_match(api, known).status_code == 304

    def test_stays_the_same_if_another_device_writes(self, api, other_api, known):
        other_api.post(NOTES, {"title": "Party"})

        assert get_if_none_match(api, known).status_code == 304

    def test_stays_the_same_with_a_new_token(self, api, known):
        api.use(api.post("/v1/auth/rotate").json()["token"])

        assert get_if_none_match(api, known).status_code == 304

    def test_is_never_newer_than_its_response(self, api, device):
        """A row that is written after the device was read is in the response, but the ETag is the one from before."""
        born = []

        def write_first(execute, sql, *args):
            if 'FROM "notes"' in sql and not born:
                born.append(device)
                NoteFactory(device=device, title="Party")
            return execute(sql, *args)

        with connection.execute_wrapper(write_first):
            read = api.get(NOTES)

        again = get_if_none_match(api, read["ETag"])
        assert [note["title"] for note in read.json()] == ["Party"]
        assert again.status_code == 200
        assert again["ETag"] != read["ETag"]


class TestNoETag:
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
    def test_on_other_responses(self, api, method, path, status):
        response = api.generic(method, path)

        assert response.status_code == status
        assert "ETag" not in response

    def test_on_a_created_row(self, api):
        response = api.post(NOTES, {"title": "Party"})

        assert response.status_code == 201
        assert "ETag" not in response

    def test_on_a_401(self, anonymous, known):
        response = get_if_none_match(anonymous, known)

        assert response.status_code == 401
        assert "ETag" not in response

    def test_on_the_device(self, api, device, known):
        first = api.get("/v1/devices/me")

        response = get_if_none_match(api, f'{known}, W/"x", *', "/v1/devices/me")

        assert response.status_code == 200
        assert response.json() == first.json()

    def test_on_a_deleted_row(self, api, device):
        note = NoteFactory(device=device)
        path = f"/v1/notes/{note.pk}"
        known = api.get(path)["ETag"]
        api.delete(path)

        response = get_if_none_match(api, known, path)

        assert response.status_code == 404
        assert response.json() == {"detail": "Note not found"}
        assert "ETag" not in response

    def test_on_a_write_with_if_none_match(self, api, known):
        response = api.post(NOTES, {"title": "Party"}, headers={"If-None-Match": known})

        assert response.status_code == 201
