import re

import pytest

from account.service import limits
from countonme import __version__
from sync.registry import tables
from tests.harness.sync import product

HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}  # as a browser sends it


class TestTheService:
    def test_is_described_without_a_token(self, anonymous):
        response = anonymous.get("/v1")

        assert response.status_code == 200
        assert response.json().keys() == {"name", "version", "sync_tables", "limits"}
        assert (response.json()["name"], response.json()["version"]) == ("CountOnMe", __version__)

    def test_ignores_tokens(self, api, anonymous):
        assert api.get("/v1").content == anonymous.get("/v1").content
        assert anonymous.get("/v1", headers={"Authorization": "Bearer x"}).status_code == 200

    def test_uses_no_database(self, anonymous, unreachable_database):
        assert anonymous.get("/v1").status_code == 200

    def test_lists_the_columns_of_each_table(self, anonymous):
        listed = anonymous.get("/v1").json()["sync_tables"]

        assert listed == {table.name: list(table.columns) for table in tables()}
        assert set(product()) <= set(listed["products"])

    def test_may_be_cached_by_anyone(self, anonymous):
        response = anonymous.get("/v1", headers={"Accept-Encoding": "gzip"})

        assert response["Cache-Control"] == "public, max-age=300"
        assert "Accept-Encoding" in response["Vary"]
        assert "Authorization" not in response["Vary"]

    def test_can_be_read_by_any_site(self, anonymous):
        assert anonymous.get("/v1", headers={"Origin": "https://app.example"})["Access-Control-Allow-Origin"] == "*"

    @pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
    def test_can_not_be_changed(self, anonymous, method):
        assert anonymous.generic(method, "/v1").status_code == 405


class TestLimits:
    @pytest.mark.parametrize(
        ("setting", "value", "path"),
        [
            ("SYNC_MAX_BODY", 5000, ["sync_body_bytes"]),
            ("MAX_BODY", 5000, ["body_bytes"]),
            ("MAX_PRODUCTS", 7, ["stored_rows", "products"]),
            ("MAX_FOOD_ENTRIES", 7, ["stored_rows", "food_entries"]),
            ("MAX_PORTIONS_PER_PRODUCT", 7, ["stored_rows_per_parent", "portions"]),
            ("NEW_ROWS_FIRST_DAY", 7, ["new_rows_first_day"]),
            ("NEW_ROWS_PER_DAY", 7, ["new_rows_per_day"]),
            ("DEVICE_RATE", "7/h", ["rates", "requests"]),
            ("REGISTER_RATE", "7/h", ["rates", "registrations"]),
            ("ROTATE_RATE", "7/h", ["rates", "rotations"]),
        ],
    )
    def test_are_those_of_the_settings(self, anonymous, settings, setting, value, path):
        setattr(settings, setting, value)

        found = anonymous.get("/v1").json()["limits"]
        for name in path:
            found = found[name]

        assert found == ({"count": 7, "seconds": 3600} if "RATE" in setting else value)

    def test_say_that_registrations_are_closed(self, anonymous, settings):
        settings.REGISTER_RATE = None

        assert anonymous.get("/v1").json()["limits"]["rates"]["registrations"]["count"] == 0

    def test_of_a_page_and_a_batch_are_enforced(self, api):
        most = limits()

        assert api.get("/v1/products", {"limit": most["page_rows"]}).status_code == 200
        assert api.get("/v1/products", {"limit": most["page_rows"] + 1}).status_code == 422
        errors = api.post("/v1/food-entries/batch", [{}] * (most["batch_rows"] + 1)).json()["errors"]
        assert [error["type"] for error in errors] == ["max_length"]

    def test_have_a_value_for_each_table(self):
        assert limits()["stored_rows"].keys() == {table.name for table in tables()}


class TestTheHomePage:
    @pytest.mark.parametrize("headers", [HTML, {}, {"Accept": "*/*"}])
    def test_is_html(self, anonymous, headers):
        response = anonymous.get("/", headers=headers)

        assert response.status_code == 200
        assert response["Content-Type"] == "text/html; charset=utf-8"
        assert f"Version {__version__}" in response.content.decode()

    def test_is_json_for_clients_that_accept_nothing_else(self, anonymous):
        response = anonymous.get("/", headers={"Accept": "application/json"})

        assert response.json() == anonymous.get("/v1").json()
        assert {"Accept", "Accept-Encoding"} <= set(response["Vary"].split(", "))

    def test_links_to_what_exists(self, anonymous, db):
        links = re.findall(r'(?:href|src)="([^"]+)"', anonymous.get("/").content.decode())

        assert {"/v1/docs", "/v1/schema", "/v1", "/readyz"} < set(links)
        for link in links:
            response = anonymous.get(link)
            assert response.status_code == 200
            assert response.getvalue()

    def test_loads_nothing_from_other_hosts(self, anonymous):
        page = anonymous.get("/", headers=HTML)

        assert "//" not in page.content.decode()
        assert "default-src 'self'" in page["Content-Security-Policy"]

    @pytest.mark.parametrize(("method", "accept", "status"), [("POST", "text/html", 405), ("GET", "image/png", 406)])
    def test_has_errors_in_json(self, anonymous, method, accept, status):
        response = anonymous.generic(method, "/", headers={"Accept": accept})

        assert response.status_code == status
        assert response.json().keys() == {"detail"}

    def test_uses_no_database(self, anonymous, unreachable_database):
        assert anonymous.get("/", headers=HTML).status_code == 200
