"""Middleware that runs only under `/admin/`."""

import pytest
from django.contrib.auth.models import User
from django.test import Client


class MarkMiddleware:
    """Marks each response, like a middleware that is added to the settings."""

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        response = self.get_response(request)
        response["X-Mark"] = "admin" if hasattr(request, "session") else "api"
        return response


class TestALaterMiddleware:
    def test_runs_for_the_api_without_a_session(self, api, settings):
        settings.MIDDLEWARE = [*settings.MIDDLEWARE, f"{__name__}.MarkMiddleware"]

        response = api.get("/v1/products")

        assert (response.status_code, response["X-Mark"]) == (200, "api")

    def test_runs_for_the_admin_with_a_session(self, db, settings):
        settings.MIDDLEWARE = [*settings.MIDDLEWARE, f"{__name__}.MarkMiddleware"]

        assert Client().get("/admin/login/")["X-Mark"] == "admin"


class TestAnAdminPage:
    def test_is_protected_against_csrf(self, db):
        client = Client(enforce_csrf_checks=True)
        client.force_login(User.objects.create_superuser("ada"))

        assert client.post("/admin/auth/user/add/", {"username": "eve"}).status_code == 403


class TestAnErrorPage:
    @pytest.mark.parametrize(
        ("address", "status", "text"),
        [
            ("/admin/nowhere/", 404, "There is no page at this address."),
            ("/admin/auth/user/", 403, "Your account may not open this page."),
            ("/admin/devices/device/?token_hash=x", 400, "Bad request"),
        ],
    )
    def test_looks_like_the_admin(self, support, address, status, text):
        response = support.get(address)

        assert response.status_code == status
        assert response["Content-Type"] == "text/html; charset=utf-8"
        assert "style-src" not in response["Content-Security-Policy"]
        assert text in response.text
        assert "CountOnMe support" in response.text
        assert '<a href="/admin/devices/device/"' in response.text  # the side bar

    def test_shows_no_menu_without_a_login(self, anonymous):
        response = anonymous.get("/admin/autocomplete/")

        assert response.status_code == 404
        assert "There is no page at this address." in response.text
        assert "/admin/logout/" not in response.text
        assert "nav-sidebar" not in response.text

    def test_of_a_form_that_is_too_old_says_what_to_do(self, db):
        client = Client(enforce_csrf_checks=True)
        client.force_login(User.objects.create_superuser("ada"))

        response = client.post("/admin/auth/user/add/", {"username": "eve"})

        assert response.status_code == 403
        assert "Reload the page and try again." in response.text

    def test_is_json_for_the_api(self, anonymous):
        assert anonymous.get("/v1/nothing").json() == {"detail": "Not found"}
