"""Middleware that runs only under `/admin/`."""

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
