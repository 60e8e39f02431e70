from uuid import uuid4

import psycopg
import pytest
from django.core.exceptions import PermissionDenied
from django.db import InterfaceError, OperationalError, transaction
from django.test import Client
from django.urls import path
from rest_framework.decorators import api_view, permission_classes
from rest_framework.response import Response

from countonme import urls
from countonme.api.errors import InUse, TooSlow, server_error
from countonme.api.health import ReadyView
from countonme.db.availability import is_away
from devices.models import Device
from tests.harness.errors import id_taken_body

handler400, handler403, handler404, handler500 = urls.handler400, urls.handler403, urls.handler404, urls.handler500


def statement_error(cause: psycopg.Error) -> OperationalError:
    """Return what Django raises for a statement that PostgreSQL cancelled."""
    error = OperationalError(str(cause))
    error.__cause__ = cause
    return error


RAISED = {
    "fault": RuntimeError("the secret of the house"),
    "operational": OperationalError("the secret of the house"),
    "interface": InterfaceError("the secret of the house"),
    "slow": statement_error(psycopg.errors.QueryCanceled("the secret of the house")),
    "locked": statement_error(psycopg.errors.LockNotAvailable("the secret of the house")),
}


@api_view(["GET", "POST"])
@permission_classes([])
def in_the_api(request, name):
    raise RAISED[name]


def outside_of_the_api(request, name):
    raise RAISED[name]


@api_view(["POST"])
@permission_classes([])
def store(request):
    """Store a device without validation."""
    with transaction.atomic():
        Device.objects.create(token_hash="x", **request.data)
    return Response(status=204)


def forbid(request):
    raise PermissionDenied


urlpatterns = [
    path("v1/raise/<str:name>", in_the_api),
    path("raise/<str:name>", outside_of_the_api),
    path("v1/store", store),
    path("forbid", forbid),
    *urls.urlpatterns,
]


@pytest.fixture
def client():
    """A client that gets the response to an exception."""
    return Client(raise_request_exception=False)


class TestAnUnknownPath:
    @pytest.mark.parametrize(
        "path",
        ["/x", "/v1/", "/v1/nothing", "/v1/products/", "/v1/products/a/b", "/v2/products", "/%FF", "/%00", "/é"],
    )
    @pytest.mark.parametrize("method", ["get", "post", "delete", "options"])
    def test_gets_404(self, anonymous, path, method):
        response = getattr(anonymous, method)(path)

        assert response.status_code == 404
        assert response.json() == {"detail": "Not found"}

    def test_gets_404_with_a_token_too(self, api):
        response = api.get("/v1/nothing")

        assert response.status_code == 404
        assert response.json() == {"detail": "Not found"}


class TestAnUnsupportedMethod:
    @pytest.mark.parametrize(
        ("method", "path", "allowed"),
        [
            ("PUT", "/v1/products", "GET, POST"),
            ("DELETE", "/v1/food-entries", "GET, POST"),
            ("BREW", "/v1/products", "GET, POST"),
            ("POST", "/v1/products/0d9c3c5e-3f2b-4c41-9b0e-6a3b6a6f2c11", "GET, PUT, PATCH, DELETE"),
            ("PATCH", "/v1/devices/me", "GET, DELETE"),
            ("GET", "/v1/auth/rotate", "POST"),
            ("GET", "/v1/auth/register", "POST"),
            ("POST", "/healthz", "GET"),
            ("DELETE", "/readyz", "GET"),
            ("PUT", "/v1/schema", "GET"),
            ("POST", "/v1/docs", "GET"),
            ("POST", "/favicon.ico", "GET, HEAD"),
            ("BREW", "/static/admin/css/base.css", "GET, HEAD"),
        ],
    )
    def test_gets_405(self, api, method, path, allowed):
        response = api.generic(method, path)

        assert response.status_code == 405
        assert response["Content-Type"] == "application/json"
        assert response.json() == {"detail": f'Method "{method}" not allowed.'}
        assert set(allowed.split(", ")) <= set(response["Allow"].split(", "))
        assert method not in response["Allow"].split(", ")

    def test_gets_405_for_options_without_a_preflight(self, api):
        response = api.options("/v1/products")

        assert response.status_code == 405
        assert response.json() == {"detail": 'Method "OPTIONS" not allowed.'}


class TestTheDocs:
    def test_get_406_in_json_if_html_is_not_accepted(self, anonymous):
        response = anonymous.get("/v1/docs", headers={"Accept": "application/json"})

        assert response.status_code == 406
        assert response["Content-Type"] == "application/json"
        assert response.json() == {"detail": "Could not satisfy the request Accept header."}


@pytest.mark.urls(__name__)
class TestABug:
    @pytest.mark.parametrize("path", ["/v1/raise/fault", "/raise/fault"])
    def test_gets_500_without_details(self, client, path):
        response = client.get(path, headers={"X-Request-ID": "a-fault"})

        assert response.status_code == 500
        assert response.json() == {"detail": "Internal server error"}
        assert response["X-Request-ID"] == "a-fault"

    @pytest.mark.parametrize("path", ["/v1/raise/fault", "/raise/fault"])
    def test_is_logged_with_its_traceback_and_the_request(self, client, log, path):
        client.get(path, headers={"X-Request-ID": "a-fault"})

        lines = log.getvalue()
        route = path.replace("fault", "{name}")
        assert f"ERROR [a-fault] django.request: Internal Server Error: {route}\n" in lines
        assert "Traceback (most recent call last):" in lines
        assert "    raise RAISED[name]\n" in lines
        assert "\nRuntimeError\n" in lines
        assert "secret" not in lines

    @pytest.mark.django_db
    def test_is_a_violated_check_constraint(self, client):
        response = client.post("/v1/store", {"pk": uuid4(), "revision": 0}, content_type="application/json")

        assert response.status_code == 500
        assert response.json() == {"detail": "Internal server error"}
        assert not Device.objects.exists()

    def test_is_not_a_duplicate_id(self, client, device):
        response = client.post("/v1/store", {"pk": device.pk}, content_type="application/json")

        assert response.status_code == 409
        assert response.json() == id_taken_body()
        assert Device.objects.get().token_hash == device.token_hash

    def test_is_not_a_denied_permission(self, client):
        response = client.get("/forbid")

        assert response.status_code == 403
        assert response.json() == {"detail": "Forbidden"}


class TestAnOutageOfTheDatabase:
    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("GET", "/v1/products"),
            ("POST", "/v1/food-entries"),
            ("GET", "/v1/devices/me"),
            ("POST", "/v1/auth/rotate"),
        ],
    )
    def test_gets_503_in_the_api(self, api, unreachable_database, method, path):
        response = api.generic(method, path)

        assert response.status_code == 503
        assert response.json() == {"detail": "Service unavailable"}
        assert response["Retry-After"] == "5"

    def test_gets_503_at_registration(self, anonymous, unreachable_database):
        response = anonymous.post("/v1/auth/register", {"device_id": uuid4()})

        assert response.status_code == 503
        assert response.json() == {"detail": "Service unavailable"}
        assert response["Retry-After"] == "5"

    def test_gets_503_outside_of_the_api(self, client, unreachable_database):
        client.cookies["sessionid"] = "a" * 32

        response = client.get("/admin/")

        assert response.status_code == 503
        assert response["Content-Type"] == "text/html; charset=utf-8"
        assert "<p>Service unavailable</p>" in response.text
        assert response["Retry-After"] == "5"

    def test_is_logged_with_its_traceback_and_the_request(self, api, unreachable_database, log):
        api.get("/v1/products", headers={"X-Request-ID": "in-the-dark"})

        lines = log.getvalue()
        assert "ERROR [in-the-dark] " in lines
        assert "Traceback (most recent call last):" in lines
        assert "OperationalError" in lines

    @pytest.mark.urls(__name__)
    @pytest.mark.parametrize("name", ["operational", "interface"])
    @pytest.mark.parametrize("path", ["/v1/raise/", "/raise/"])
    def test_gets_503_for_each_exception(self, client, path, name):
        response = client.get(path + name)

        assert response.status_code == 503
        assert response.json() == {"detail": "Service unavailable"}
        assert response["Retry-After"] == "5"
        assert b"secret" not in response.content

    def test_does_not_change_errors_that_need_no_database(self, anonymous, unreachable_database):
        assert anonymous.get("/v1/products").status_code == 401
        assert anonymous.get("/v1/nothing").status_code == 404


@pytest.mark.urls(__name__)
@pytest.mark.parametrize(("name", "error_class"), [("slow", TooSlow), ("locked", InUse)])
class TestAStatementTimeout:
    @pytest.mark.parametrize("path", ["/v1/raise/", "/raise/"])
    def test_gets_503_with_its_own_detail(self, client, path, name, error_class):
        response = client.get(path + name)

        assert response.status_code == 503
        assert response.json() == {"detail": error_class.default_detail}
        assert response["Retry-After"] == "5"

    @pytest.mark.parametrize("path", ["/v1/raise/", "/raise/"])
    def test_is_logged_once_without_a_traceback(self, client, json_log, path, name, error_class):
        client.get(path + name)

        lines = json_log()
        logged = [(line["level"], line["message"]) for line in lines if line["logger"] == "countonme.api.errors"]
        assert logged == [("WARNING", error_class.log_line)]
        assert not [line for line in lines if "traceback" in line]

    def test_gets_503_in_a_middleware(self, name, error_class):
        try:
            raise RAISED[name]
        except OperationalError:
            response = server_error(None)

        assert response.status_code == 503
        assert error_class.default_detail.encode() in response.content
        assert response["Retry-After"] == "5"

    def test_is_not_an_outage(self, anonymous, monkeypatch, name, error_class):
        def find_fault(self):
            raise RAISED[name]

        monkeypatch.setattr(ReadyView, "find_fault", find_fault)

        response = anonymous.get("/readyz")

        assert not is_away(RAISED[name])
        assert response.status_code == 503
        assert response.json() == {"detail": error_class.default_detail}
