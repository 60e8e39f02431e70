import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.conf import settings
from django.db import connection

from countonme.api import schema_views
from countonme.api.health import ReadyView


@pytest.fixture
def just_started(monkeypatch):
    """A process that has not checked its migrations yet."""
    monkeypatch.setattr(ReadyView, "migrated", False)


class TestTheOpenAPIDocument:
    def test_is_generated_by_one_thread_at_a_time(self, monkeypatch):
        inside, most = [], []

        class Generator(schema_views.SchemaGenerator):
            def get_schema(self, *args, **kwargs):
                inside.append(self)
                most.append(len(inside))
                try:
                    return super().get_schema(*args, **kwargs)
                finally:
                    inside.remove(self)

        monkeypatch.setattr(schema_views, "SchemaGenerator", Generator)
        schema_views._made.cache_clear()

        with ThreadPoolExecutor(4) as pool:
            documents = list(pool.map(lambda _: schema_views.document(), range(4)))

        assert most == [1]
        assert all(document is documents[0] for document in documents)


class TestHealthz:
    def test_works_without_the_database(self, anonymous):
        response = anonymous.get("/healthz")

        assert response.status_code == 200
        assert response.json() == {"status": "ok"}

    def test_works_during_an_outage_of_the_database(self, anonymous, unreachable_database):
        response = anonymous.get("/healthz")

        assert response.status_code == 200
        assert response.json() == {"status": "ok"}

    def test_ignores_tokens(self, anonymous):
        assert anonymous.get("/healthz", headers={"Authorization": "Bearer x"}).status_code == 200


@pytest.mark.usefixtures("just_started")
class TestReadyz:
    def test_is_ok_if_all_migrations_are_applied(self, anonymous, db):
        response = anonymous.get("/readyz")

        assert response.status_code == 200
        assert response.json() == {"status": "ok"}

    def test_checks_the_migrations_until_all_are_applied(self, anonymous, db, django_assert_num_queries):
        anonymous.get("/readyz")

        with django_assert_num_queries(1):  # the ping
            response = anonymous.get("/readyz")

        assert response.json() == {"status": "ok"}

    def test_names_missing_migrations(self, anonymous, db):
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM django_migrations WHERE app = 'food_entries'")

        for _ in range(2):
            response = anonymous.get("/readyz")

            assert response.status_code == 503
            assert response.json()["detail"].startswith("Migrations are not applied: food_entries.0001_initial")
            assert response["Retry-After"] == "5"

    def test_is_ok_after_missing_migrations_are_applied(self, anonymous, db):
        with connection.cursor() as cursor:
            cursor.execute("UPDATE django_migrations SET app = 'away' WHERE app = 'food_entries'")
            assert anonymous.get("/readyz").status_code == 503
            cursor.execute("UPDATE django_migrations SET app = 'food_entries' WHERE app = 'away'")

        assert anonymous.get("/readyz").json() == {"status": "ok"}

    def test_reports_a_wrong_encoding(self, anonymous, db, monkeypatch, log):
        monkeypatch.setattr("countonme.api.health.encoding_fault", lambda connection: "The database has no letters.")

        response = anonymous.get("/readyz")

        assert response.status_code == 503
        assert response.json() == {"detail": "The database has no letters."}
        assert "Not ready: The database has no letters." in log.getvalue()

    @pytest.mark.parametrize("migrated", [False, True])
    def test_reports_an_outage_of_the_database(self, anonymous, unreachable_database, monkeypatch, migrated):
        monkeypatch.setattr(ReadyView, "migrated", migrated)

        response = anonymous.get("/readyz")

        assert response.status_code == 503
        assert response.json() == {"detail": "The database cannot be reached"}
        assert response["Retry-After"] == "5"


class TestTheDocumentation:
    def test_needs_no_token(self, anonymous):
        schema, docs = anonymous.get("/v1/schema"), anonymous.get("/v1/docs", headers={"Accept": "text/html,*/*"})

        assert schema.status_code == docs.status_code == 200
        assert schema["Content-Type"] == "application/json"
        assert schema.json()["openapi"].startswith("3.")
        assert docs["Content-Type"].startswith("text/html")

    def test_ignores_invalid_tokens(self, anonymous):
        for path in ("/v1/schema", "/v1/docs"):
            assert anonymous.get(path, headers={"Authorization": "Bearer x"}).status_code == 200

    def test_refers_to_no_other_host(self, anonymous):
        page = anonymous.get("/v1/docs").content.decode()

        assert re.findall(r"(?:https?:|[\"'(=]\s*)//[^\s\"')]+", page) == []

    def test_loads_files_of_this_service_that_exist(self, anonymous):
        page = anonymous.get("/v1/docs").content.decode()

        loaded = re.findall(r"(?:src|href)=[\"']([^\"']+)", page)
        assert len(loaded) >= 4
        for address in loaded:
            assert address.startswith(("/static/", "/v1/docs?script="))
            response = anonymous.get(address)
            assert response.status_code == 200
            assert b"".join(response)

    def test_reads_the_document_from_this_service(self, anonymous):
        script = anonymous.get("/v1/docs?script=", headers={"Accept": "*/*"})

        assert script["Content-Type"] == "application/javascript"
        assert '"/v1/schema"' in script.content.decode()


class TestTheFavicon:
    def test_is_at_the_root(self, anonymous):
        response = anonymous.get("/favicon.ico")

        assert response.status_code == 200
        assert response["Content-Type"] == "image/x-icon"
        assert b"".join(response) == (settings.WHITENOISE_ROOT / "favicon.ico").read_bytes()
