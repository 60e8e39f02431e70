from io import BytesIO

import pytest
from django.conf import settings

BREAD = b'{"name": "Rye bread", "kcal_100g": 259'  # goes on


@pytest.fixture
def send(api):
    """Return a function that sends raw bytes as the body."""

    def send(body: bytes, path="/v1/products", content_type="application/json", **environ):
        return api.generic("POST", path, body, content_type=content_type, **environ)

    return send


def chunked(body: bytes) -> dict:
    """Return the WSGI environment of a body in chunks, which has no length."""
    return {"wsgi.input": BytesIO(body), "wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"}


def bread_of(size: int) -> bytes:
    """Return a body of `size` bytes with a valid product."""
    head, tail = BREAD + b', "note": "', b'"}'
    return head + b"x" * (size - len(head) - len(tail)) + tail


def stores_nothing(device) -> bool:
    device.refresh_from_db()
    return device.revision == 1 and not device.products.exists()


class TestABodyThatIsNotJSON:
    @pytest.mark.parametrize(
        "body",
        [
            b"{",
            b" ",
            b"name=Rye",
            b"{'name': 'Rye'}",
            b'{"name": "Rye",}',
            BREAD + b"} {}",
            BREAD + b', "protein_100g": NaN}',
            BREAD + b', "note": Infinity}',
            BREAD + b', "note": -Infinity}',
            BREAD + b', "note": "\x01"}',
            b"[" * 100_000,
            b'{"a":' * 100_000,
            b"[" + b"9" * 5000 + b"," + b"[" * 100_000,
            b"[" + b"9" * 5000 + b", NaN]",
            b'\xef\xbb\xbf{"name": "with a byte order mark"}',
        ],
        ids=lambda body: repr(body[:24]),
    )
    def test_gets_400(self, send, device, body):
        response = send(body)

        assert response.status_code == 400
        assert response.json().keys() == {"detail"}
        assert response.json()["detail"].startswith("JSON parse error - ")
        assert stores_nothing(device)

    @pytest.mark.parametrize(
        "body",
        [b'{"name": "Caf\xe9"}', b'{"name": "\xed\xa0\x80"}', '{"name": "Rye"}'.encode("utf-16"), b"\xff"],
        ids=["latin-1", "encoded surrogate", "utf-16", "one byte"],
    )
    def test_gets_400_if_it_is_not_utf_8(self, send, device, body):
        response = send(body)

        assert response.status_code == 400
        assert response.json() == {"detail": "JSON parse error - the body is not UTF-8"}
        assert stores_nothing(device)

    def test_gets_400_if_it_is_nested_too_deeply(self, send):
        response = send(b"[" * 100_000 + b"]" * 100_000)

        assert response.status_code == 400
        assert response.json() == {"detail": "JSON parse error - nested too deeply"}

    @pytest.mark.parametrize("path", ["/v1/auth/register", "/v1/food-entries"])
    def test_gets_400_on_every_path(self, send, path):
        response = send(b"{", path)

        assert response.status_code == 400
        assert response.json()["detail"].startswith("JSON parse error - ")


class TestAJSONBodyThatIsNotAnObject:
    @pytest.mark.parametrize("body", [b"[]", b'"Rye"', b"5", b"null", b"true"])
    @pytest.mark.parametrize("path", ["/v1/products", "/v1/auth/register"])
    def test_gets_422(self, send, device, path, body):
        response = send(body, path)

        assert response.status_code == 422
        assert response.json()["detail"] == "Validation error"
        (error,) = response.json()["errors"]
        assert error["loc"] == []
        assert stores_nothing(device)

    @pytest.mark.parametrize("body", [b" ", b"\n"])
    def test_gets_400_if_it_is_blank(self, send, device, body):
        response = send(body)

        assert response.status_code == 400
        assert stores_nothing(device)


class TestANumber:
    @pytest.mark.parametrize("field", ["kcal_100g", "protein_100g"])
    @pytest.mark.parametrize(
        "digits",
        ["9" * 20, "9" * 4300, "9" * 5000, "-" + "9" * 5000, "1e400", "-1e400", "1e30", "1.5e308"],
        ids=["20", "4300", "5000", "minus 5000", "1e400", "-1e400", "1e30", "1.5e308"],
    )
    def test_gets_422_if_it_is_out_of_bounds(self, send, device, field, digits):
        values = {"name": '"Rye"', "kcal_100g": "250", field: digits}

        response = send(b"{%s}" % ", ".join(f'"{name}": {value}' for name, value in values.items()).encode())

        assert response.status_code == 422
        assert response.json()["detail"] == "Validation error"
        (error,) = response.json()["errors"]
        assert error["loc"] == [field]
        assert error["type"] in {"invalid", "max_value", "min_value"}
        assert stores_nothing(device)

    @pytest.mark.parametrize("value", [b"9" * 5000, b"-1e400", b"[[1e400]]"], ids=["5000 digits", "1e400", "nested"])
    def test_is_ignored_in_an_unknown_field(self, send, device, value):
        response = send(BREAD + b', "note": ' + value + b"}")

        assert response.status_code == 201
        assert response.json()["kcal_100g"] == 259
        assert device.products.get().kcal_100g == 259

    def test_does_not_change_other_numbers_in_the_body(self, send):
        response = send(BREAD + b', "protein_100g": 8.125, "fat_100g": 3, "note": ' + b"9" * 5000 + b"}")

        assert response.status_code == 201
        assert {k: response.json()[k] for k in ("kcal_100g", "protein_100g", "fat_100g")} == {
            "kcal_100g": 259,
            "protein_100g": 8.13,
            "fat_100g": 3,
        }


class TestAText:
    @pytest.mark.parametrize(
        ("name", "code"),
        [
            (rb"Rye\u0000bread", "null_characters_not_allowed"),
            (rb"\u0000", "null_characters_not_allowed"),
            (rb"Rye \ud83c", "surrogate_characters_not_allowed"),
            (rb"\udf5e\ud83c", "surrogate_characters_not_allowed"),
        ],
    )
    def test_gets_422_if_it_contains_an_invalid_character(self, send, device, name, code):
        response = send(b'{"name": "%s", "kcal_100g": 259}' % name)

        assert response.status_code == 422
        assert response.json()["detail"] == "Validation error"
        (error,) = response.json()["errors"]
        assert (error["loc"], error["type"]) == (["name"], code)
        assert stores_nothing(device)

    @pytest.mark.parametrize(
        ("path", "field"),
        [
            ("/v1/products", "id"),
            ("/v1/products", "kcal_100g"),
            ("/v1/products", "barcode"),
            ("/v1/auth/register", "device_id"),
            ("/v1/food-entries", "product_id"),
            ("/v1/food-entries", "portion_id"),
            ("/v1/food-entries", "date"),
            ("/v1/food-entries", "meal_type"),
            ("/v1/food-entries", "quantity"),
        ],
    )
    @pytest.mark.parametrize("text", [rb"\ud83c", rb"\u0000"])
    def test_gets_422_in_every_field(self, send, device, path, field, text):
        response = send(b'{"%s": "%s"}' % (field.encode(), text), path)

        assert response.status_code == 422
        assert [field] in [error["loc"] for error in response.json()["errors"]]
        assert stores_nothing(device)

    def test_may_contain_an_emoji_as_a_surrogate_pair(self, send):
        response = send(rb'{"name": "Rye \ud83c\udf5e", "kcal_100g": 259}')

        assert response.status_code == 201
        assert response.json()["name"] == "Rye 🍞"

    @pytest.mark.parametrize("field", [rb'"note": "\ud83c\u0000"', rb'"\ud83c\u0000": 1'])
    def test_is_ignored_in_an_unknown_field(self, send, field):
        response = send(BREAD + b", " + field + b"}")

        assert response.status_code == 201

    def test_gets_422_in_a_query_if_it_contains_nul(self, api):
        response = api.get("/v1/products?search=%00")

        assert response.status_code == 422
        (error,) = response.json()["errors"]
        assert (error["loc"], error["type"]) == (["search"], "null_characters_not_allowed")


class TestUnknownFields:
    def test_are_ignored_in_a_body(self, api, device):
        foreign = {"device": "x", "device_id": "x", "revision": 99, "deleted_at": "2026-01-05T00:00:00Z", "note": {}}

        response = api.post("/v1/products", {"name": "Rye", "kcal_100g": 259, **foreign})

        device.refresh_from_db()
        assert response.status_code == 201
        assert not foreign.keys() & response.json().keys()
        assert device.products.get().revision == device.revision == 2

    @pytest.mark.parametrize("query", ["note=1", "format=csv", "format=", "limit[]=0", "%FF=%FF", "&&=", "Limit=0"])
    @pytest.mark.parametrize("path", ["/v1/products", "/v1/devices/me", "/healthz", "/v1/schema"])
    def test_are_ignored_in_a_query(self, api, path, query):
        assert api.get(f"{path}?{query}").json() == api.get(path).json()


class TestTheSizeOfABody:
    TOO_LARGE = {"detail": f"The body is larger than {1024 * 1024} bytes."}

    def test_may_be_the_limit(self, send, device):
        response = send(bread_of(settings.MAX_BODY))

        assert response.status_code == 201
        assert device.products.get().name == "Rye bread"

    def test_may_be_the_limit_in_chunks(self, send, device):
        response = send(b"", **chunked(bread_of(settings.MAX_BODY)))

        assert response.status_code == 201
        assert device.products.get().name == "Rye bread"

    @pytest.mark.parametrize("over", [1, 100_000])
    def test_gets_413_above_the_limit(self, send, device, over):
        response = send(bread_of(settings.MAX_BODY + over))

        assert response.status_code == 413
        assert response.json() == self.TOO_LARGE
        assert stores_nothing(device)

    @pytest.mark.parametrize("over", [1, 100_000])
    def test_gets_413_above_the_limit_in_chunks(self, send, device, over):
        response = send(b"", **chunked(bread_of(settings.MAX_BODY + over)))

        assert response.status_code == 413
        assert response.json() == self.TOO_LARGE
        assert stores_nothing(device)

    def test_gets_413_if_the_declared_length_is_too_large(self, send):
        response = send(b"", **{"wsgi.input": BytesIO(b"{}"), "CONTENT_LENGTH": str(10**12)})

        assert response.status_code == 413
        assert response.json() == self.TOO_LARGE

    @pytest.mark.parametrize(("size", "status"), [(0, 400), (settings.MAX_BODY + 1, 413)])
    def test_is_refused_if_the_chunks_are_invalid(self, send, device, size, status):
        class Broken(BytesIO):
            """The stream of invalid chunks, which raises an error of the server."""

            def read(self, amount=-1):
                if data := super().read(amount):
                    return data
                raise ArithmeticError("no chunk size")

        response = send(b"", **{**chunked(b""), "wsgi.input": Broken(b"x" * size)})

        assert response.status_code == status
        assert response.json() == (self.TOO_LARGE if status == 413 else {"detail": "Bad request"})
        assert stores_nothing(device)

    @pytest.mark.parametrize("sent", ["with a length", "in chunks"])
    def test_gets_413_after_the_body_was_read(self, send, sent):
        body = BytesIO(bread_of(settings.MAX_BODY + 300_000))

        if sent == "in chunks":
            response = send(b"", **{**chunked(b""), "wsgi.input": body})
        else:
            response = send(b"", **{"wsgi.input": body, "CONTENT_LENGTH": str(len(body.getvalue()))})

        assert response.status_code == 413
        assert body.read() == b""

    @pytest.mark.parametrize("path", ["/v1/auth/register", "/v1/nothing", "/healthz", "/admin/login/"])
    def test_gets_413_on_every_path_and_without_a_token(self, anonymous, path):
        response = anonymous.generic("POST", path, bread_of(settings.MAX_BODY + 1), content_type="application/json")

        assert response.status_code == 413
        assert response.json() == self.TOO_LARGE

    def test_may_be_unknown_if_it_comes_in_chunks(self, send, device):
        response = send(b"", **chunked(BREAD + b"}"))

        assert response.status_code == 201
        assert device.products.get().name == "Rye bread"

    def test_gets_400_if_the_chunks_are_empty(self, send, device):
        response = send(b"", **chunked(b""))

        assert (response.status_code, response.json()) == (400, {"detail": "The body is missing."})
        assert stores_nothing(device)

    def test_gets_400_if_the_chunks_are_cut_off(self, send, device):
        class BrokenOff(BytesIO):
            def read(self, size=-1):
                raise OSError("the client is gone")

        response = send(b"", **{**chunked(b""), "wsgi.input": BrokenOff()})

        assert response.status_code == 400
        assert response.json() == {"detail": "Bad request"}
        assert stores_nothing(device)

    @pytest.mark.parametrize("length", ["", "x"])
    def test_gets_400_if_the_declared_length_is_not_a_number(self, send, device, length):
        response = send(b"", CONTENT_LENGTH=length, **{"wsgi.input": BytesIO(BREAD + b"}")})

        assert (response.status_code, response.json()) == (400, {"detail": "The body is missing."})
        assert stores_nothing(device)


class TestTheMediaTypeOfABody:
    @pytest.mark.parametrize(
        "content_type",
        ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/xml", "x"],
    )
    def test_gets_415_if_it_is_not_json(self, send, device, content_type):
        response = send(BREAD + b"}", content_type=content_type)

        assert response.status_code == 415
        assert response.json() == {"detail": f'Unsupported media type "{content_type}" in request.'}
        assert stores_nothing(device)

    def test_gets_415_if_it_is_missing(self, api, device):
        response = api.generic("POST", "/v1/products", BREAD + b"}", content_type="")

        assert response.status_code == 415
        assert response.json() == {"detail": 'Unsupported media type "" in request.'}
        assert stores_nothing(device)

    @pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "Application/JSON"])
    def test_may_have_parameters_and_capitals(self, send, content_type):
        assert send(BREAD + b"}", content_type=content_type).status_code == 201


class TestTheMediaTypeOfAResponse:
    @pytest.mark.parametrize("accept", ["text/html", "application/xml", "image/*, text/*", "garbage"])
    @pytest.mark.parametrize("path", ["/v1/products", "/v1/devices/me", "/healthz", "/v1/schema"])
    def test_gets_406_if_it_is_not_json(self, api, path, accept):
        response = api.get(path, headers={"Accept": accept})

        assert response.status_code == 406
        assert response.json() == {"detail": "Could not satisfy the request Accept header."}

    def test_gets_406_before_anything_is_stored(self, api, device):
        response = api.post("/v1/products", {"name": "Rye", "kcal_100g": 1}, headers={"Accept": "text/html"})

        assert response.status_code == 406
        assert stores_nothing(device)

    @pytest.mark.parametrize("accept", ["*/*", "application/*", "text/html, */*;q=0.1", "application/json"])
    def test_is_json(self, api, accept):
        response = api.get("/v1/products", headers={"Accept": accept})

        assert response.status_code == 200
        assert response["Content-Type"] == "application/json"


class TestTheHost:
    def test_gets_400_if_it_is_not_allowed(self, api):
        response = api.get("/v1/products", headers={"Host": "evil.example"})

        assert response.status_code == 400
        assert response.json() == {"detail": "Bad request"}

    def test_gets_400_for_a_write_if_it_is_not_allowed(self, api, device):
        response = api.post("/v1/products", {"name": "Rye", "kcal_100g": 1}, headers={"Host": "evil.example"})

        assert response.status_code == 400
        assert response.json() == {"detail": "Bad request"}
        assert stores_nothing(device)

    @pytest.mark.parametrize("path", ["/healthz", "/readyz"])
    def test_may_be_any_for_a_probe(self, anonymous, db, path):
        assert anonymous.get(path, headers={"Host": "10.0.0.7:8000"}).status_code == 200

    @pytest.mark.parametrize("host", ["a b", "testserver/x", "testserver:port", "<script>"])
    def test_gets_400_if_it_is_invalid(self, api, host):
        response = api.get("/v1/products", headers={"Host": host})

        assert response.status_code == 400
        assert response.json() == {"detail": "Bad request"}

    def test_gets_400_before_a_redirect_to_https(self, anonymous, settings):
        settings.SECURE_SSL_REDIRECT = True

        response = anonymous.get("/v1/products", headers={"Host": "evil.example"})

        assert response.status_code == 400
        assert response.json() == {"detail": "Bad request"}


class TestAQuery:
    def test_gets_400_with_too_many_parameters(self, api):
        response = api.get("/v1/products?" + "&".join(f"a{n}=1" for n in range(1001)))

        assert response.status_code == 400
        assert response.json() == {"detail": "Bad request"}

    def test_may_have_many_parameters(self, api):
        assert api.get("/v1/products?" + "&".join(f"a{n}=1" for n in range(1000))).status_code == 200


class TestAHeadRequest:
    def test_gets_the_headers_of_a_get_request_and_no_body(self, api, device):
        got = api.get("/v1/products")

        response = api.head("/v1/products")

        assert response.status_code == 200
        assert response.content == b""
        for header in ("ETag", "Content-Type", "Content-Length", "Cache-Control"):
            assert response[header] == got[header]
