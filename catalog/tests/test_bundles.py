import json
import zlib
from dataclasses import replace
from unittest.mock import patch

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from catalog import bundles, etags, importing
from catalog.models import CatalogBundle, CatalogBundlePart, CatalogRelease
from catalog.sources import SOURCES
from catalog.tests import SR28, import_foods, make_food, output_of

URL = "/v1/catalog/bundles"


def body_of(response) -> bytes:
    assert response.status_code == 200
    return b"".join(response.streaming_content)


def lines_of(response) -> list[dict]:
    return [json.loads(line) for line in zlib.decompress(body_of(response), 31).splitlines()]


def names_of(response) -> list[str]:
    return [food["name"] for food in lines_of(response)[1:]]


class TestABundle:
    def test_has_a_first_line_and_the_foods_as_the_api_returns_them(self, api, db):
        import_foods(make_food("Nutella", 1, brand="Ferrero", portions=[("1 spoon", 15.0)]))

        first, nutella = lines_of(api.get(f"{URL}/off"))

        assert first == {
            "source": "off",
            "release": CatalogRelease.objects.get().pk,
            "license": "ODbL-1.0",
            "attribution": "Contains information from Open Food Facts, made available under the Open Database License"
            " (ODbL).",
            "count": 1,
        }
        food = api.get(f"/v1/catalog/foods/{nutella['id']}").json()
        assert nutella == {name: food[name] for name in food.keys() - set(bundles.IN_THE_FIRST_LINE)}

    def test_has_all_foods_of_the_usda(self, api, db, settings):
        settings.CATALOG_BUNDLE_SIZE = 1
        output_of("import_usda", SR28)

        first, *foods = lines_of(api.get(f"{URL}/usda"))

        assert first["count"] == len(foods) == 8789
        assert len({food["id"] for food in foods}) == 8789
        assert CatalogBundlePart.objects.count() > 1
        assert CatalogBundle.objects.get().size < 750_000

    def test_has_the_best_foods_of_open_food_facts(self, api, db, settings):
        settings.CATALOG_BUNDLE_SIZE = 2
        import_foods(*(make_food(f"Food {weight}", weight, weight=weight) for weight in range(1, 5)))

        assert names_of(api.get(f"{URL}/off")) == ["Food 4", "Food 3"]

    def test_has_no_withdrawn_food(self, api, db):
        foods = [make_food(f"Food {number}", number) for number in range(1, 31)]
        import_foods(*foods)
        import_foods(*foods[1:], is_complete=True)

        assert len(names_of(api.get(f"{URL}/off"))) == 29

    def test_is_a_file(self, api, db):
        import_foods(make_food("Nutella"))

        response = api.get(f"{URL}/off", headers={"Accept": "application/gzip", "Accept-Encoding": "gzip"})

        assert response["Content-Type"] == "application/gzip"
        assert "Content-Encoding" not in response
        assert response["Content-Disposition"] == 'attachment; filename="off.ndjson.gz"'
        assert response["Content-Length"] == str(len(body_of(response)))
        assert response["Cache-Control"] == "private, max-age=3600"

    def test_is_not_sent_again_to_a_client_that_has_it(self, api, db, django_assert_num_queries):
        import_foods(make_food("Nutella"))
        etag = api.get(f"{URL}/off")["ETag"]
        output_of("import_usda", SR28)
        etags.state.get()

        with django_assert_num_queries(2):  # the device, and the bundle without its parts
            response = api.get(f"{URL}/off", headers={"If-None-Match": etag})

        assert (response.status_code, response["ETag"], response.content) == (304, etag, b"")
        import_foods(make_food("Nutella", kcal_100g=101, source_modified=1))
        assert api.get(f"{URL}/off", headers={"If-None-Match": etag}).status_code == 200

    def test_is_read_in_parts_outside_of_a_transaction(self, api, db):
        with patch.object(bundles, "PART", 1):
            import_foods(*(make_food(f"Food {number} {number**9}", number) for number in range(1, 3000)))
        parts = CatalogBundlePart.objects.count()
        assert parts > 1

        with CaptureQueriesContext(connection) as queries:
            response = api.get(f"{URL}/off")
            read_before = len(queries)
            assert len(list(response.streaming_content)) == parts

        assert len(queries) == read_before + parts
        assert not [query["sql"] for query in queries if "BEGIN" in query["sql"] or "SAVEPOINT" in query["sql"]]

    @pytest.mark.parametrize("source", ["usda", "other", "off%00", "%ff", "x" * 300])
    def test_is_missing_without_an_import(self, api, source):
        response = api.get(f"{URL}/{source}")

        assert (response.status_code, response.json()) == (404, {"detail": "Bundle not found"})

    @pytest.mark.parametrize("path", ["", "/usda"])
    def test_needs_a_token(self, anonymous, path):
        assert anonymous.get(f"{URL}{path}").status_code == 401


class TestTheList:
    def test_has_the_latest_bundle_of_each_source(self, api, db):
        import_foods(make_food("Nutella", 1))
        import_foods(make_food("Nutella", 1), make_food("Bread", 2))

        (bundle,) = api.get(URL).json()

        latest = CatalogBundle.objects.latest("pk")
        assert bundle.pop("published_at").endswith("Z")
        assert bundle == {
            "source": "off",
            "release": latest.release_id,
            "license": "ODbL-1.0",
            "attribution": "Contains information from Open Food Facts, made available under the Open Database License"
            " (ODbL).",
            "count": 2,
            "size": int(api.get(f"{URL}/off")["Content-Length"]),
        }

    def test_is_empty_before_the_first_import(self, api):
        response = api.get(URL)

        assert response.json() == []
        assert response["Cache-Control"] == "private, max-age=3600"

    def test_has_an_etag(self, api, db):
        import_foods(make_food("Nutella"))
        etag = api.get(URL)["ETag"]

        assert api.get(URL, headers={"If-None-Match": etag}).status_code == 304


class TestAnImport:
    def test_keeps_the_bundle_if_no_food_has_changed(self, api, db):
        import_foods(make_food("Nutella"))
        before = CatalogBundle.objects.get()
        import_foods(make_food("Nutella"))

        assert CatalogBundle.objects.get() == before
        assert CatalogBundlePart.objects.count() == before.parts

    def test_publishes_another_license(self, api, db, monkeypatch):
        import_foods(make_food("Nutella"))
        monkeypatch.setitem(SOURCES, "off", replace(SOURCES["off"], license="ODbL-2.0"))
        import_foods(make_food("Nutella"))

        assert lines_of(api.get(f"{URL}/off"))[0]["license"] == "ODbL-2.0"

    def test_keeps_the_bundle_before_for_running_downloads(self, api, db):
        running = []
        for number in range(1, 5):
            import_foods(make_food(f"Food {number}", number))
            assert [len(names_of(response)) for response in running] == [number - 1] * len(running)
            running = [api.get(f"{URL}/off")]

        assert CatalogBundle.objects.count() == bundles.KEPT

    def test_breaks_off_a_download_of_a_bundle_that_is_gone(self, api, db):
        import_foods(make_food("Nutella"))
        running = api.get(f"{URL}/off")
        CatalogBundle.objects.all().delete()

        with pytest.raises(CatalogBundlePart.DoesNotExist):
            body_of(running)

    def test_shows_no_half_of_a_bundle(self, api, db):
        import_foods(make_food("Nutella"))
        with patch.object(bundles, "load", side_effect=KeyboardInterrupt), pytest.raises(KeyboardInterrupt):
            import_foods(make_food("Bread", 2))
        assert names_of(api.get(f"{URL}/off")) == ["Nutella"]
        assert CatalogBundle.objects.count() == 2

        import_foods()

        assert sorted(names_of(api.get(f"{URL}/off"))) == ["Bread", "Nutella"]
        assert not CatalogBundle.objects.filter(published_at=None)

    def test_makes_none_without_a_food(self, db):
        import_foods()

        assert not CatalogBundle.objects.exists()
        assert importing.live_foods("off").count() == 0
