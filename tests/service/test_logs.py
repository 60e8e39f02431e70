import json
import logging
import os
import re
from contextlib import suppress
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from uuid import uuid4

import pytest
from django.conf import settings
from django.db import DataError, connection, transaction
from django.test import Client
from django.urls import path
from gunicorn.config import Config
from gunicorn.workers import base
from psycopg.errors import CheckViolation
from rest_framework.decorators import api_view, permission_classes
from rest_framework.response import Response

from countonme import urls
from countonme.observability.log_format import JSONFormatter
from countonme.observability.request_log import name_in_log
from countonme.observability.tracebacks import format_redacted
from countonme.serving.gunicorn_log import ServerLogger
from devices.models import Device
from ownership.models import change_set
from products.models import Product

NAME = "Grandmother's liver dumplings"

handler404, handler500 = urls.handler404, urls.handler500


@api_view(["POST"])
@permission_classes([])
def misread(request):
    int(request.data["name"])


@api_view(["POST"])
@permission_classes([])
def store_unchecked(request):
    """Store a product that violates a check constraint."""
    device = Device.objects.get()
    with change_set(device):
        Product.objects.bulk_create([Product(device=device, name=request.data["name"], kcal_100g=-1)])
    return Response(status=204)


urlpatterns = [path("v1/misread", misread), path("v1/store", store_unchecked), *urls.urlpatterns]


@pytest.fixture
def client():
    return Client(raise_request_exception=False)


def only(lines: list[dict], **facts) -> list[dict]:
    return [line for line in lines if facts.items() <= line.items()]


class TestADevicesName:
    def test_is_stable_and_differs_between_devices(self, device, other_device):
        names = [name_in_log(each.pk) for each in (device, device, other_device)]

        assert names[0] == names[1] != names[2]
        assert re.fullmatch("[0-9a-f]{16}", names[0])

    def test_can_not_be_computed_without_the_secret_key(self, device, settings):
        before = name_in_log(device.pk)

        settings.SECRET_KEY = "another-key-" * 5

        assert name_in_log(device.pk) != before

    def test_is_on_the_devices_page_in_the_admin(self, support, device):
        assert name_in_log(device.pk) in support.get(f"/admin/devices/device/{device.pk}/change/").content.decode()


class TestARequestLine:
    def test_has_the_route_the_status_and_the_device(self, api, device, json_log):
        pk = uuid4()

        response = api.get(f"/v1/products/{pk}?x=1", headers={"X-Request-ID": "one"})

        (line,) = json_log()
        assert datetime.fromisoformat(line.pop("time")).tzinfo == UTC
        assert 0 < line.pop("ms") < 10_000
        assert line == {
            "level": "INFO",
            "logger": "countonme.requests",
            "request_id": "one",
            "method": "GET",
            "route": "/v1/products/{pk}",
            "status": 404,
            "device": name_in_log(device.pk),
            "bytes": len(response.content),
        }

    def test_is_text_on_a_terminal(self, api, device, log):
        api.get("/v1/products", headers={"X-Request-ID": "one"})

        assert re.fullmatch(
            r"\S+ \S+ INFO \[one\] countonme.requests: GET /v1/products 200, \S+ ms, 2 bytes, device (\S+)\n",
            log.getvalue(),
        )[1] == name_in_log(device.pk)

    @pytest.mark.parametrize(
        ("method", "path", "status", "route"),
        [
            ("GET", "/healthz", 200, "/healthz"),
            ("GET", "/v1/nothing", 404, None),
            ("GET", "/admin/", 302, "/admin/"),
            ("GET", "/static/admin/css/base.css", 200, "/static/{path}"),
            ("PATCH", "/v1/products", 401, "/v1/products"),
        ],
    )
    def test_is_written_for_every_path(self, anonymous, json_log, method, path, status, route):
        b"".join(anonymous.generic(method, path))

        (line,) = json_log()
        assert (line["method"], line["status"], line["route"], line["device"]) == (method, status, route, None)

    def test_names_the_route_if_a_middleware_refuses_the_body(self, anonymous, json_log):
        anonymous.generic("POST", f"/v1/products/{uuid4()}/portions", "x" * (settings.MAX_BODY + 1))

        (line,) = json_log()
        assert (line["status"], line["route"]) == (413, "/v1/products/{product_id}/portions")

    def test_has_no_bytes_for_a_304(self, api, json_log):
        known = api.get("/v1/products")["ETag"]

        api.get("/v1/products", headers={"If-None-Match": known})

        assert [(line["status"], line["bytes"]) for line in json_log()] == [(200, 2), (304, 0)]

    def test_names_no_staff_user(self, admin_client, json_log, django_assert_num_queries):
        with django_assert_num_queries(0):  # a 404 does not read the session
            admin_client.get("/static/nothing")

        with django_assert_num_queries(3):  # the session, the user and the second factor
            admin_client.get("/admin/jsi18n/")

        assert [line["device"] for line in json_log()] == [None, None]

    @pytest.mark.urls(__name__)
    def test_is_an_error_for_a_bug(self, client, json_log):
        client.post("/v1/misread", {"name": NAME}, content_type="application/json")

        (line,) = only(json_log(), logger="countonme.requests")
        assert (line["level"], line["status"]) == ("ERROR", 500)

    def test_is_not_written_if_the_level_is_higher(self, anonymous, json_log, monkeypatch):
        monkeypatch.setattr(logging.getLogger("countonme.requests"), "level", logging.WARNING)
        logging.getLogger("countonme.requests")._cache.clear()

        anonymous.get("/healthz")

        logging.getLogger("countonme.requests")._cache.clear()
        assert json_log() == []


@pytest.mark.urls(__name__)
class TestABug:
    def test_is_logged_in_one_line_with_its_traceback(self, client, json_log):
        client.post("/v1/misread", {"name": NAME}, content_type="application/json", headers={"X-Request-ID": "a-fault"})

        (line,) = only(json_log(), logger="django.request")
        assert line["request_id"] == "a-fault"
        assert line["message"] == "Internal Server Error: /v1/misread"
        assert line["traceback"].startswith("Traceback (most recent call last):\n")
        assert line["traceback"].endswith("\nValueError")
        assert 'int(request.data["name"])' in line["traceback"]


@pytest.mark.urls(__name__)
class TestTheLog:
    @pytest.mark.parametrize("formatted", ["log", "json_log"])
    def test_contains_no_sent_data(self, request, client, api, device, log, formatted):
        request.getfixturevalue(formatted)
        for address in ("/v1/misread", "/v1/store"):
            assert client.post(address, {"name": NAME}, content_type="application/json").status_code == 500
        assert api.post("/v1/products", {"name": NAME, "kcal_100g": 1}).status_code == 201
        row = api.get("/v1/products", {"search": NAME}).json()[0]["id"]
        assert api.get(f"/v1/products/{row}", {"search": NAME}).status_code == 200
        assert api.get(f"/v1/{NAME}").status_code == 404

        lines = log.getvalue()
        assert lines.count("Traceback (most recent call last)") >= 2
        for secret in (NAME, NAME[:11], "liver", row, *api.token.split("."), device.pk.hex, "search"):
            assert secret not in lines

    def test_names_the_violated_constraint(self, client, device, json_log):
        client.post("/v1/store", {"name": NAME}, content_type="application/json")

        (line,) = only(json_log(), logger="django.request")
        assert "constraint" in line["traceback"]
        assert "IntegrityError" in line["traceback"]
        assert "kcal" in line["traceback"]

    def test_is_valid_json_with_a_lone_surrogate(self, console, json_log):
        logging.getLogger("countonme").warning("a file named \udce9\n%s", "…")

        (line,) = json_log()
        assert line["message"] == "a file named \udce9\n…"

    def test_does_not_stop_responses_if_stderr_is_closed(self, anonymous, console):
        reader, writer = os.pipe()
        os.close(reader)
        broken = console.stream = os.fdopen(writer, "w", buffering=1)

        responses = [anonymous.get("/healthz") for _ in range(2)]

        console.stream = StringIO()
        with suppress(BrokenPipeError):
            broken.close()
        assert [response.json() for response in responses] == [{"status": "ok"}] * 2


def catch(raiser) -> BaseException:
    try:
        raiser()
    except Exception as error:  # noqa: BLE001
        return error
    raise AssertionError("It raised nothing.")


def constant():
    raise RuntimeError("the stove is off")


def composed():
    raise RuntimeError(f"no such food: {NAME}")


def looked_up():
    return {}[NAME]


def chained():
    try:
        looked_up()
    except KeyError as error:
        raise RuntimeError("not on the menu") from error


def during():
    try:
        looked_up()
    except KeyError:
        constant()


def failing_row():
    raise CheckViolation(f'new row violates check constraint "kcal"\nDETAIL:  Failing row contains ({NAME}).')


def not_a_number():
    raise DataError(f'invalid input syntax for type integer: "{NAME}"')


def missing_file():
    Path(f"/nowhere/{NAME}").read_text()


class TestARedactedTraceback:
    @pytest.mark.parametrize(
        ("raiser", "last"),
        [
            (constant, "RuntimeError: the stove is off"),
            (composed, "RuntimeError"),
            (looked_up, "KeyError"),
            (failing_row, 'psycopg.errors.CheckViolation: new row violates check constraint "kcal"'),
            (not_a_number, "django.db.utils.DataError"),
            (missing_file, "FileNotFoundError: No such file or directory"),
        ],
    )
    def test_contains_only_constant_messages(self, raiser, last):
        text = format_redacted(catch(raiser))

        assert text.splitlines()[-1] == last
        assert f"in {raiser.__name__}\n" in text
        assert NAME not in text

    @pytest.mark.parametrize("raiser", [chained, during])
    def test_comes_after_its_causes(self, raiser):
        text = format_redacted(catch(raiser))

        assert text.index("KeyError") < text.index(" exception") < text.index("RuntimeError: ")
        assert NAME not in text

    def test_ends_if_an_exception_is_its_own_cause(self):
        error = catch(constant)
        error.__cause__ = error

        assert format_redacted(error).count("RuntimeError: the stove is off") == 1

    def test_can_be_turned_off(self):
        error = catch(composed)

        assert NAME in JSONFormatter(unredacted=True).formatException((type(error), error, error.__traceback__))


@pytest.mark.django_db
class TestAMessageOfPostgreSQL:
    @pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite accepts any text")
    def test_is_not_logged(self):
        def read():
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute("SELECT %s::text::integer", [NAME])

        text = format_redacted(catch(read))

        assert text.splitlines()[-1] == "django.db.utils.DataError"
        assert NAME not in text


class TestTheDocumentation:
    def test_shows_the_fields_of_a_line(self, api, json_log):
        (shown,) = re.findall(r"```json\n(.*?)```", (Path(settings.BASE_DIR) / "docs/logs.md").read_text(), re.S)

        api.get("/v1/products")

        assert list(json.loads(shown)) == list(json_log()[0])


class TestGunicornsLog:
    @pytest.fixture
    def lines(self):
        return StringIO()

    @pytest.fixture
    def server(self, lines, monkeypatch):
        """gunicorn's logger, in JSON as without a terminal."""
        monkeypatch.setattr("countonme.settings.LOG_FORMAT", "json")
        logger = ServerLogger(Config())
        (handler,) = [one for one in logger.error_log.handlers if getattr(one, "_gunicorn", False)]
        handler.setStream(lines)
        yield logger
        logger.error_log.removeHandler(handler)

    @pytest.fixture
    def logged(self, lines):
        return lambda: [json.loads(line) for line in lines.getvalue().splitlines()]

    def test_has_the_same_format(self, server, logged):
        server.info("Booting worker with pid: %s", 7)

        (line,) = logged()
        assert line.pop("time")
        assert line == {
            "level": "INFO",
            "logger": "gunicorn.error",
            "request_id": "-",
            "message": "Booting worker with pid: 7",
        }

    def test_quotes_no_url(self, server, logged):
        try:
            composed()
        except RuntimeError:
            server.exception("Error handling request %s", f"/v1/products?search={NAME}")
            server.exception("Error handling request %s %s", "GET", f"/v1/products?search={NAME}")

        lines = logged()
        assert [line["message"] for line in lines] == ["Error handling request"] * 2
        assert all(line["traceback"].endswith("\nRuntimeError") for line in lines)
        assert NAME not in str(lines)

    @pytest.mark.parametrize(("error", "count"), [(BlockingIOError, 0), (ConnectionAbortedError, 1)])
    def test_has_no_line_about_a_client_that_fell_silent(self, server, logged, error, count):
        try:
            raise error
        except OSError:
            server.exception("Socket error processing request.")

        assert len(logged()) == count

    def test_quotes_no_invalid_request_line(self, server, logged):
        server.warning(f"Invalid request from ip=10.0.0.1: Invalid HTTP request line: 'GET /?search={NAME}\n'")

        (line,) = logged()
        assert line["message"] == "A request from 10.0.0.1 is not valid HTTP"

    def test_knows_all_messages_of_gunicorn_with_quotes(self):
        source = Path(base.__file__).read_text()

        assert 'msg = "Invalid request from ip={ip}: {error}"' in source
        assert len(re.findall(r"req\.uri\)", source)) == len(
            re.findall(r'"Error handling request [^"]*", req\.', source)
        )
