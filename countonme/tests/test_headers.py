import re
from io import BytesIO
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.test import Client

PAGES = ["/", "/v1/docs", "/admin/login/", "/admin/", "/admin/products/product/", "/admin/auth/user/"]
DATA = ["/v1/devices/me", "/v1/products", "/v1/nothing", "/v1/schema", "/healthz", "/v1/sync"]


@pytest.fixture
def support(db) -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("ada"))
    return client


def policy_of(response) -> dict[str, str]:
    parts = [part.strip().partition(" ") for part in response["Content-Security-Policy"].split(";")]
    return {name: allowed for name, _, allowed in parts}


class TestEveryResponse:
    @pytest.mark.parametrize("path", [*PAGES, *DATA])
    def test_forbids_frames_and_content_sniffing(self, api, support, path):
        response = (support if path in PAGES else api).get(path)

        assert policy_of(response)["frame-ancestors"] == "'none'"
        assert response["X-Frame-Options"] == "DENY"
        assert response["X-Content-Type-Options"] == "nosniff"
        assert response["Referrer-Policy"] == "same-origin"
        assert response["Cross-Origin-Opener-Policy"] == "same-origin"

    @pytest.mark.parametrize("path", DATA)
    def test_forbids_to_load_anything_if_it_is_data(self, api, path):
        assert policy_of(api.get(path)) == {"default-src": "'none'", "frame-ancestors": "'none'"}

    @pytest.mark.parametrize("path", PAGES)
    def test_loads_from_this_origin_only_if_it_is_a_page(self, support, path):
        response = support.get(path, follow=True)

        policy = policy_of(response)
        assert policy["default-src"] == "'self'"
        assert not {"script-src", "style-src", "connect-src"} & policy.keys()
        page = response.content.decode()
        assert re.findall(r"<script(?![^>]*\ssrc=)(?![^>]*application/json)[^>]*>|<style|\son\w+=|\sstyle=", page) == []

    def test_has_the_headers_if_it_is_a_file_or_a_redirect(self, anonymous, settings):
        settings.SECURE_SSL_REDIRECT = True

        file, redirect = anonymous.get("/static/admin/css/base.css", secure=True), anonymous.get("/v1/products")

        assert b"".join(file)
        assert redirect.status_code == 308
        for response in (file, redirect):
            assert policy_of(response)["frame-ancestors"] == "'none'"

    def test_has_hsts(self, anonymous, settings):
        settings.SECURE_HSTS_SECONDS = 60 * 60

        assert anonymous.get("/healthz", secure=True)["Strict-Transport-Security"] == "max-age=3600"


class TestARedirectToHTTPS:
    @pytest.fixture(autouse=True)
    def _https_only(self, settings):
        settings.SECURE_SSL_REDIRECT = True

    @pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PATCH", "DELETE"])
    def test_keeps_the_method_and_the_query(self, anonymous, method):
        response = anonymous.generic(method, "/v1/products?search=rye%20bread", b"{}", content_type="application/json")

        assert response.status_code == 308
        assert response["Location"] == "https://testserver/v1/products?search=rye%20bread"

    def test_repeats_a_post_as_a_post(self, anonymous, db):
        response = anonymous.post("/v1/auth/register", {"device_id": uuid4()}, follow=True)

        assert response.redirect_chain == [("https://testserver/v1/auth/register", 308)]
        assert response.json().keys() == {"token"}

    @pytest.mark.parametrize("path", ["//evil.example/v1/products", "/\\evil.example", "/%2F%2Fevil.example"])
    def test_stays_on_this_host(self, anonymous, path):
        response = anonymous.generic("GET", path)

        assert response["Location"].startswith("https://testserver/")

    def test_is_sent_after_the_body_was_read(self, anonymous):
        body = BytesIO(b"x" * 100_000)

        response = anonymous.generic("POST", "/v1/sync", **{"wsgi.input": body, "CONTENT_LENGTH": "100000"})

        assert response.status_code == 308
        assert body.read() == b""

    def test_may_be_the_response_to_a_body_that_is_cut_off(self, anonymous):
        class BrokenOff(BytesIO):
            def read(self, size=-1):
                raise OSError("the client is gone")

        response = anonymous.generic("POST", "/v1/sync", **{"wsgi.input": BrokenOff(), "CONTENT_LENGTH": "100000"})

        assert response.status_code == 308


class TestCacheControl:
    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("GET", "/v1/devices/me"),
            ("POST", "/v1/auth/rotate"),
            ("POST", "/v1/products"),
            ("POST", "/v1/sync"),
            ("GET", "/v1/products/x"),
            ("GET", "/v1/products?limit=0"),
            ("GET", "/healthz"),
        ],
    )
    def test_is_no_store_for_private_data(self, api, method, path):
        assert api.generic(method, path)["Cache-Control"] == "no-store"

    def test_is_no_store_for_a_token(self, anonymous, db):
        response = anonymous.post("/v1/auth/register", {"device_id": uuid4()})

        assert (response.status_code, response["Cache-Control"]) == (200, "no-store")

    @pytest.mark.parametrize("path", ["/v1/products", "/v1/food-entries", "/v1/sync"])
    def test_is_private_for_a_response_with_an_etag(self, api, path):
        response = api.get(path)

        assert response["Cache-Control"] == "private, no-cache"
        again = api.get(path, headers={"If-None-Match": response["ETag"]})
        assert (again.status_code, again["Cache-Control"]) == (304, "private, no-cache")

    def test_is_no_store_for_an_admin_page(self, support):
        assert "no-store" in support.get("/admin/")["Cache-Control"]


class TestCookies:
    def test_of_the_admin_are_sent_to_the_admin_only(self, settings, db):
        settings.SESSION_COOKIE_SECURE = settings.CSRF_COOKIE_SECURE = True
        User.objects.create_superuser("ada", password="a-long-passw0rd")

        response = Client().post(
            "/admin/login/", {"username": "ada", "password": "a-long-passw0rd"}, follow=False, secure=True
        )

        assert set(response.cookies) == {"sessionid", "csrftoken", "known"}
        for cookie in response.cookies.values():
            assert (cookie["secure"], cookie["httponly"], cookie["samesite"]) == (True, True, "Lax")
            assert cookie["path"] == "/admin/"

    def test_are_not_set_by_the_api(self, api, anonymous):
        for response in (api.get("/v1/products"), anonymous.get("/v1/docs"), anonymous.get("/healthz")):
            assert not response.cookies
