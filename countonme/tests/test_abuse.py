"""Hostile requests: each gets an error soon, and stores nothing."""

import gzip
import http.client
import json
import socket
import time

import pytest

from tests.harness.service import serve

SOON = 3  # seconds
PUSH = "/v1/sync?last_pulled_at=0"
DEEP = b"[" * 100_000 + b"]" * 100_000
ROW = b'{"products": {"created": [{"id": "0d9c3c5e-3f2b-4c41-9b0e-6a3b6a6f2c11", "name": "Rye", "kcal_100g": %s}]}}'


@pytest.fixture
def send(api):
    def send(method: str, path: str, body: bytes = b"", content_type="application/json", **environ):
        began = time.monotonic()
        response = api.generic(method, path, body, content_type=content_type, **environ)
        assert time.monotonic() - began < SOON
        return response

    return send


class TestAPush:
    @pytest.mark.parametrize(
        "body",
        [
            b"{",
            DEEP,
            ROW % DEEP,
            b'{"products":' * 100_000,
            ROW % b"NaN",
            ROW % b"-Infinity",
            b"\xef\xbb\xbf{}",
            '{"products": {}}'.encode("utf-16"),
            b'{"products": {"created": [{"name": "Caf\xe9"}]}}',
            (ROW % b"1")[:-1],
        ],
        ids=lambda body: repr(body[:24]),
    )
    def test_gets_400_if_it_is_not_json(self, send, all_rows, body):
        before = all_rows()

        response = send("POST", PUSH, body)

        assert response.status_code == 400
        assert response.json()["detail"].startswith("JSON parse error - ")
        assert all_rows() == before

    @pytest.mark.parametrize(
        "body",
        [
            b"[]",
            b"null",
            b'"products"',
            b'{"products": 5}',
            b'{"products": {"created": {}}}',
            b'{"products": {"created": [5]}}',
            b'{"products": {"created": [{"id": 5}]}}',
            b'{"products": {"created": [{"id": "\\ud83c"}]}}',
            b'{"products": {"deleted": [null]}}',
            b'{"products": {"deleted": ["\\udf5e"]}}',
            b'{"products": {}, "products": []}',
            b'{"products": {"created": [' + b"[]," * 100_000 + b"[]]}}",
            b'{"products": {"created": [' + b"{}," * 100_000 + b"{}]}}",
        ],
        ids=lambda body: repr(body[:40]),
    )
    def test_gets_422_if_its_structure_is_wrong(self, send, all_rows, body):
        before = all_rows()

        response = send("POST", PUSH, body)

        assert response.status_code == 422
        assert response.json()["detail"] == "Validation error"
        assert response.json()["errors"]
        assert all_rows() == before

    @pytest.mark.parametrize(
        "value",
        [b"1e400", b"-1e400", b"9" * 20, b"9" * 5000, b'"1"', b"[]", b"{}", b"true", b"null", b'"\\u0000"'],
        ids=lambda value: repr(value[:12]),
    )
    def test_names_the_row_with_an_invalid_value(self, send, device, value):
        response = send("POST", PUSH, ROW % value)

        assert response.status_code == 200
        (refused,) = response.json()["rejected"]
        assert refused["errors"][0]["loc"] == ["kcal_100g"]
        device.refresh_from_db()
        assert device.revision == 1
        assert not device.products.exists()

    def test_uses_the_last_value_of_a_duplicate_key(self, send, device):
        send("POST", PUSH, ROW % b'1, "kcal_100g": 259')

        assert device.products.get().kcal_100g == 259


class TestABody:
    @pytest.mark.parametrize("path", [PUSH, "/v1/products", "/v1/auth/register", "/admin/login/"])
    @pytest.mark.parametrize("encoding", ["gzip", "GZIP", "deflate", "br", "gzip, identity", "x"])
    def test_gets_415_if_it_is_compressed_and_is_not_decompressed(self, send, all_rows, path, encoding):
        before = all_rows()

        response = send("POST", path, gzip.compress(bytes(10_000_000)), HTTP_CONTENT_ENCODING=encoding)

        assert response.status_code == 415
        assert response.json() == {
            "detail": "Compressed bodies are not accepted. Send the body without a Content-Encoding."
        }
        assert response["Accept-Encoding"] == "identity"
        assert all_rows() == before

    @pytest.mark.parametrize("charset", ["latin-1", "utf-16", "x"])
    def test_is_read_as_utf_8_despite_its_charset(self, send, device, charset):
        content_type = f"application/json; charset={charset}"

        assert send("POST", "/v1/products", b'{"name": "Caf\xe9"}', content_type).status_code == 400
        taken = send("POST", "/v1/products", '{"name": "Café", "kcal_100g": 1}'.encode(), content_type)

        assert taken.json()["name"] == device.products.get().name == "Café"

    @pytest.mark.parametrize("name", ["HTTP_X_HTTP_METHOD_OVERRIDE", "HTTP_X_HTTP_METHOD", "HTTP_X_METHOD_OVERRIDE"])
    def test_can_not_override_the_method(self, send, device, name):
        row = send("POST", "/v1/products", b'{"name": "Rye", "kcal_100g": 1}').json()

        response = send("POST", f"/v1/products/{row['id']}", b"_method=DELETE", **{name: "DELETE"})

        assert response.status_code == 405
        assert send("GET", f"/v1/products/{row['id']}?_method=DELETE", **{name: "DELETE"}).status_code == 200
        assert device.products.count() == 1


class TestAQuery:
    NOT_A_NUMBER = [
        "-1",
        "1e3",
        "1.0",
        "+1",
        "%201",
        "0x1",
        "1_000",
        "nan",
        "Infinity",
        "true",
        "[]",
        "%00",
        "%F0",
        "٣",
        "３",
    ]

    @pytest.mark.parametrize("value", [*NOT_A_NUMBER, "9" * 30, "9" * 5000])
    @pytest.mark.parametrize("name", ["/v1/sync?last_pulled_at", "/v1/products?offset", "/v1/products?limit"])
    def test_gets_422_if_a_number_is_invalid(self, send, name, value):
        response = send("GET", f"{name}={value}")

        assert response.status_code == 422
        assert [error["loc"] for error in response.json()["errors"]] == [[name.partition("?")[2]]]

    @pytest.mark.parametrize("value", [*NOT_A_NUMBER, "9" * 5000])
    def test_stores_no_push_if_the_cursor_is_invalid(self, send, all_rows, value):
        before = all_rows()

        assert send("POST", f"/v1/sync?last_pulled_at={value}", ROW % b"1").status_code == 422
        assert all_rows() == before

    @pytest.mark.parametrize("value", ["{", "[" * 6000, "9" * 6000, "%22%5Cud83c%22", "%00"])
    def test_gets_422_if_the_migration_is_invalid(self, send, value):
        response = send("GET", f"/v1/sync?last_pulled_at=1&migration={value}")

        assert response.status_code == 422
        assert {error["loc"][0] for error in response.json()["errors"]} == {"migration"}

    @pytest.mark.parametrize("path", ["/v1/products?", "/v1/food-entries?", "/v1/sync?last_pulled_at=1&"])
    def test_gets_400_with_ten_thousand_parameters(self, send, path):
        response = send("GET", path + "&".join(f"a{n}" for n in range(10_000)))

        assert response.status_code == 400


class TestAPath:
    @pytest.mark.parametrize(
        "path",
        [
            "//v1/products",
            "/v1//products",
            "/v1/products%2f",
            "/v1/products%00",
            "/v1/products;x=1",
            "/v1/products/..%2f..%2fadmin",
            "/v1/%2e%2e/v1/products",
            "/v1/../v1/products",
            "/V1/products",
            "/v1/products.json",
            "/v1/products%20",
            "/static/../countonme/settings.py",
            "/static/%2e%2e/%2e%2e/countonme/settings.py",
            "/static/..%2f..%2f.env",
            "/static//etc/passwd",
            "/static/%00",
            "/.env",
            "/%2e%2e/%2e%2e/etc/passwd",
        ],
    )
    @pytest.mark.parametrize("method", ["GET", "DELETE"])
    def test_gets_404_if_it_is_a_trick(self, send, method, path):
        response = send(method, path)

        assert response.status_code == 404
        assert response.json() == {"detail": "Not found"}

    @pytest.mark.parametrize("row", ["%00", "..", "%2e%2e", "%FF", "'--", "0" * 7000, "٣" * 36, "{id}"])
    def test_gets_404_if_the_id_is_invalid(self, send, row):
        response = send("GET", f"/v1/products/{row}")

        assert response.status_code == 404
        assert response.json() == {"detail": "Product not found"}


class TestAHeader:
    @pytest.mark.parametrize(
        ("name", "value", "status"),
        [
            ("If-None-Match", 'W/"' + "a" * 8000, 200),
            ("If-None-Match", '"a",' * 2000, 200),
            ("If-None-Match", "\x00", 200),
            ("Accept", "a/b;q=" * 1300, 406),
            ("Accept", ",".join(f"*/*;q=0.{n}" for n in range(600)), 200),
            ("Accept-Language", "x," * 4000, 200),
            ("Accept-Encoding", "gzip;q=" * 1000, 200),
            ("Cookie", "a=" * 4000, 200),
            ("Range", "bytes=0-0," * 800, 200),
            ("Origin", "\x00http://[", 200),
            ("X-Forwarded-For", "," * 8000, 200),
            ("X-Request-ID", "a" * 8000, 200),
            ("Host", "a" * 8000, 400),
            ("Host", "testserver:x", 400),
        ],
        ids=lambda value: repr(value)[:24],
    )
    def test_gets_a_response_even_if_it_is_absurd(self, send, name, value, status):
        response = send("GET", "/v1/products", **{f"HTTP_{name.upper().replace('-', '_')}": value})

        assert response.status_code == status
        assert len(str(response.headers)) < 2_000


@pytest.fixture(scope="module")
def service(live_url, tmp_path_factory):
    with serve(live_url, tmp_path_factory.mktemp("abuse") / "log") as service:
        service.register()
        yield service


def raw(service, sent: bytes, *, hang_up: bool = False) -> list[int]:
    """Send raw bytes. Return the statuses of all responses until the server closes the connection."""
    head = f"Host: 127.0.0.1\r\nAuthorization: Bearer {service.phone.token}\r\nContent-Type: application/json\r\n"
    with socket.create_connection(("127.0.0.1", service.server.port), timeout=20) as client:
        client.sendall(sent.replace(b"HEAD\r\n", head.encode()))
        if hang_up:
            client.shutdown(socket.SHUT_WR)
        received = b""
        while chunk := client.recv(65536):
            received += chunk
    return [int(part[:3]) for part in received.split(b"HTTP/1.1 ")[1:]]


def send_raw(service, sent: bytes) -> tuple[int, dict[str, str], bytes]:
    """Send raw bytes. Return the status, the headers in lower case, and the body."""
    with socket.create_connection(("127.0.0.1", service.server.port), timeout=20) as client:
        client.sendall(sent)
        received = b"".join(iter(lambda: client.recv(65536), b""))
    head, _, body = received.partition(b"\r\n\r\n")
    status, *headers = head.decode().split("\r\n")
    return int(status.split()[1]), dict(line.lower().split(": ", 1) for line in headers), body


BREAD = b'{"name": "Rye bread", "kcal_100g": 259}'
POST = b"POST /v1/products HTTP/1.1\r\nHEAD\r\nConnection: close\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n"


class TestRawRequests:
    @pytest.mark.parametrize(
        "sent",
        [
            b"\r\n\r\n",
            b"GARBAGE\r\n\r\n",
            b"GET /v1/products\r\n\r\n",
            b"GET /v1/products HTTP/9.9\r\nHEAD\r\n\r\n",
            b"GET http://[::1 HTTP/1.1\r\nHEAD\r\n\r\n",
            b"GET /" + b"a" * 10_000 + b" HTTP/1.1\r\nHEAD\r\n\r\n",
            b"GET / HTTP/1.1\r\nHEAD\r\nX: " + b"a" * 10_000 + b"\r\n\r\n",
            b"GET / HTTP/1.1\r\nHEAD\r\n" + b"X: y\r\n" * 200 + b"\r\n",
            b"GET / HTTP/1.1\r\nHEAD\r\nX\x00: y\r\n\r\n",
            b"GET / HTTP/1.1\r\nHEAD\r\nX: a\x00b\r\n\r\n",
            b"GET / HTTP/1.1\r\nHEAD\r\nX : y\r\n\r\n",
            POST + b"Content-Length: -1\r\n\r\n" + BREAD,
            POST + b"Content-Length: +39\r\n\r\n" + BREAD,
            POST + b"Content-Length: 0x27\r\n\r\n" + BREAD,
            POST + b"Content-Length: \xb2\r\n\r\n" + BREAD,
            POST + b"Content-Length: 39, 39\r\n\r\n" + BREAD,
            POST + b"Content-Length: 39\r\nContent-Length: 40\r\n\r\n" + BREAD,
            POST + b"Content-Length: 39\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + BREAD,
            POST + b"Transfer-Encoding: gzip\r\n\r\n" + BREAD,
            POST + b"Transfer-Encoding: chunked, identity\r\n\r\n27\r\n" + BREAD + b"\r\n0\r\n\r\n",
            CHUNKED + b"\r\nzz\r\n" + BREAD + b"\r\n0\r\n\r\n",
            CHUNKED + b"\r\n-27\r\n" + BREAD + b"\r\n0\r\n\r\n",
            CHUNKED + b"\r\n0x27\r\n" + BREAD + b"\r\n0\r\n\r\n",
            CHUNKED + b"\r\n26\r\n" + BREAD + b"\r\n0\r\n\r\n",
            CHUNKED + b"\r\n" + BREAD,
        ],
        ids=lambda sent: repr(sent.removeprefix(POST)[:40]),
    )
    def test_gets_4xx_or_a_closed_connection_if_it_is_not_valid_http(self, service, sent):
        began = time.monotonic()

        statuses = raw(service, sent, hang_up=True)

        assert time.monotonic() - began < SOON
        assert all(400 <= status < 500 or status in (501, 505) for status in statuses), statuses
        assert service.phone.get("/v1/products").json() == []

    @pytest.mark.parametrize(
        ("method", "target", "headers", "status"),
        [
            *((method, "/v1/products", "", 400) for method in ("get", "Post", "patch", "GO", "M#", "X" * 21)),
            ("GET", "*", "", 400),
            ("GET", "/" + "a" * 9000, "", 414),
            ("GET", "/v1/products", f"X: {'a' * 9000}\r\n", 431),
            ("POST", "/v1/products", "Expect: 200-ok\r\n", 417),
            ("POST", "/v1/products", "Transfer-Encoding: br\r\n", 501),
            *((method, "/v1/products", "", 401) for method in ("BREW", "TRACE", "CONNECT")),
            ("BREW", "/healthz", "", 405),
            ("BREW", "/v1/nothing", "", 404),
        ],
    )
    def test_gets_an_error_in_json_with_a_request_id(self, service, method, target, headers, status):
        sent = f"{method} {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n{headers}\r\n"

        actual, received, body = send_raw(service, sent.encode())

        assert (actual, received["content-type"]) == (status, "application/json")
        assert json.loads(body)["detail"]
        assert received["cache-control"] == "no-store"
        assert received["x-request-id"] in service.server.log.read_text()

    @pytest.mark.parametrize("row", [ROW % b"1", b"{}"])
    def test_stores_nothing_if_a_push_is_cut_off(self, service, row):
        head = b"POST /v1/sync?last_pulled_at=1 HTTP/1.1\r\nHEAD\r\nConnection: close\r\n"

        assert raw(service, head + b"Content-Length: 9000\r\n\r\n" + row, hang_up=True) == [400]
        assert service.phone.get("/v1/products").json() == []

    @pytest.mark.parametrize(
        "sent",
        [
            POST + b"Content-Length: 1000\r\n\r\n" + BREAD,
            POST + b"Content-Length: 38\r\n\r\n" + BREAD,
            CHUNKED + b"\r\n27\r\n" + BREAD[:20],
            CHUNKED + b"\r\n27\r\n" + BREAD + b"\r\n",
        ],
        ids=["longer", "shorter", "half a chunk", "no end"],
    )
    def test_stores_nothing_if_the_body_has_another_length(self, service, sent):
        statuses = raw(service, sent, hang_up=True)

        assert statuses in ([], [400])
        assert service.phone.get("/v1/products").json() == []

    def test_reads_no_second_request_from_a_body(self, service):
        hidden = b"DELETE /v1/devices/me HTTP/1.1\r\nHEAD\r\n\r\n"
        length = b"Content-Length: %d\r\n\r\n" % len(hidden)

        statuses = raw(service, b"GET /v1/nothing HTTP/1.1\r\nHEAD\r\nConnection: close\r\n" + length + hidden)

        assert statuses in ([404], [400])
        assert service.phone.get("/v1/devices/me").status_code == 200

    @pytest.mark.parametrize("rest", [b"zz\r\n", b"2\r\n{}zz", b"0\r\nnot a header\r\n\r\n"])
    def test_gets_one_response_if_the_unread_body_is_not_valid_http(self, service, rest):
        head = b"POST /favicon.ico HTTP/1.1\r\nHEAD\r\nTransfer-Encoding: chunked\r\n\r\n"

        assert raw(service, head + rest + b"GET /healthz HTTP/1.1\r\nHEAD\r\n\r\n") == [405]

    def test_refuses_a_large_body_without_a_token(self, service):
        client = http.client.HTTPConnection("127.0.0.1", service.server.port, timeout=20)
        client.request("POST", "/v1/sync", bytes(21 * 1024 * 1024), {"Content-Type": "application/json"})

        assert client.getresponse().status == 413
        client.close()
