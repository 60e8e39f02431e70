import json
import time
from io import BytesIO
from unittest.mock import patch

import pytest
from django.http import HttpResponse
from drf_spectacular.generators import SchemaGenerator
from hypothesis import given
from hypothesis import strategies as st

from countonme.api import parsers
from countonme.api.parsers import MAX_CONTAINERS, MAX_VALUES, is_too_complex
from countonme.middleware.body_limit import BodyMiddleware

ROW_ID = "0d9c3c5e-3f2b-4c41-9b0e-6a3b6a6f2c11"


JSON_VALUES = st.recursive(
    st.none() | st.integers() | st.text(alphabet=st.sampled_from('\\",[]{}: aé\ud800\n')),
    lambda values: st.lists(values) | st.dictionaries(st.text(alphabet=st.sampled_from('\\",[{a')), values),
)


def count_signs(value) -> tuple[int, int]:
    """Return how many objects and arrays, and how many commas a value has as JSON."""
    if not isinstance(value, list | dict):
        return 0, 0
    counts = [count_signs(inner) for inner in (value.values() if isinstance(value, dict) else value)]
    return 1 + sum(count[0] for count in counts), max(0, len(value) - 1) + sum(count[1] for count in counts)


def operations_with_a_body() -> list[tuple[str, str]]:
    """Return the method and path of each operation with a request body, from the OpenAPI document."""
    paths = SchemaGenerator().get_schema(public=True)["paths"]
    return [
        (method, path)
        for path, operations in paths.items()
        for method, operation in operations.items()
        if "requestBody" in operation
    ]


class TestAMissingBody:
    @pytest.mark.parametrize("body", ["", " ", "\r\n\t"], ids=["none", "a space", "other white space"])
    def test_gets_400_from_every_operation_with_a_body(self, api, all_rows, body):
        product = api.post("/v1/products", {"name": "Rye bread", "kcal_100g": 259}).json()
        entry = api.post("/v1/food-entries", {"product_id": product["id"], "grams": 50, "date": "2026-01-05"}).json()
        ids = {"products": product["id"], "portions": product["portions"][0]["id"], "food-entries": entry["id"]}
        operations, before = operations_with_a_body(), all_rows()
        assert len(operations) >= 10

        for method, path in operations:
            for kind, row_id in ids.items():
                path = path.replace(f"/{kind}/{{id}}", f"/{kind}/{row_id}").replace("{product_id}", product["id"])
            response = api.generic(method.upper(), path, body, content_type="application/json")
            without_a_type = api.generic(method.upper(), path, body, content_type="")

            assert "{" not in path
            assert response.status_code == 400, path
            assert response.json()["detail"].startswith("JSON parse error" if body else "The body is missing."), path
            assert without_a_type.status_code == (415 if body and path != "/v1/sync" else 400), path
        assert all_rows() == before

    def test_is_not_missed_by_an_operation_without_a_body(self, api, product_id):
        api.delete(f"/v1/products/{product_id}")

        assert api.generic("POST", f"/v1/products/{product_id}/restore").status_code == 200
        assert api.generic("POST", "/v1/auth/rotate").status_code == 200

    @pytest.fixture
    def product_id(self, api) -> str:
        return api.post("/v1/products", {"name": "Rye bread", "kcal_100g": 259}).json()["id"]

    def test_is_not_the_same_as_an_empty_object(self, api):
        assert api.post("/v1/sync", {}).status_code == 200


class TestAnUnreadBody:
    @pytest.mark.parametrize(("status", "is_read"), [(429, True), (403, True), (401, False)])
    def test_is_drained_if_the_token_is_valid(self, rf, status, is_read):
        request = rf.post("/v1/sync", b"x" * 100_000, content_type="application/json")

        BodyMiddleware(lambda _: HttpResponse(status=status))(request)

        assert (request.read() == b"") == is_read

    def test_may_be_cut_off(self, rf):
        class BrokenOff(BytesIO):
            def read(self, size=-1):
                raise OSError("the client is gone")

        request = rf.generic("POST", "/v1/sync", **{"wsgi.input": BrokenOff(), "CONTENT_LENGTH": "100000"})

        assert BodyMiddleware(lambda _: HttpResponse(status=429))(request).status_code == 429


class TestAComplexBody:
    @pytest.mark.parametrize("value", ["{}", "[]", '{"a": 1}'])
    def test_has_a_limit_of_objects_and_arrays(self, value):
        within = f"[{','.join([value] * (MAX_CONTAINERS - 1))}]".encode()

        assert not is_too_complex(within)
        assert is_too_complex(b"[%s]" % within)

    @pytest.mark.parametrize("value", ["1", '"a"', "null", '""'])
    def test_has_a_limit_of_values(self, value):
        within = f"[{','.join([value] * MAX_VALUES)}]".encode()

        assert not is_too_complex(within)
        assert is_too_complex(within[:-1] + f",{value}]".encode())

    @pytest.mark.parametrize("text", ["[{" * MAX_CONTAINERS, "," * MAX_VALUES, '"\\[{,' * MAX_CONTAINERS])
    def test_has_no_limit_of_characters_in_strings(self, text):
        assert not is_too_complex(json.dumps([text, {text: text}]).encode())

    @pytest.mark.parametrize("start", [b'"', b'"\\', b'"\\"', b"\\", b'""', b"\\\\"], ids=lambda start: start.decode())
    def test_is_checked_in_linear_time(self, start):
        def seconds(count: int) -> float:
            body = start * count + b'"' + b"[" * 200_000
            began = time.process_time()
            is_too_complex(body)
            return time.process_time() - began

        assert seconds(2_000_000) < 40 * seconds(100_000) + 0.5  # in quadratic time it would be 400 times

    @given(JSON_VALUES, st.booleans(), st.integers(1, 9))
    def test_is_counted_without_what_is_in_strings(self, value, as_ascii, chunk):
        body = json.dumps(value, ensure_ascii=as_ascii).encode("utf-8", "surrogatepass")

        with patch.object(parsers, "CHUNK", chunk):
            structure = parsers.structure_of(body)

        assert (structure.count(b"[") + structure.count(b"{"), structure.count(b",")) == count_signs(value)

    @pytest.mark.parametrize(
        "body",
        [
            b'["' + b"[{" * 5_000_000 + b'"]',
            b"[" + b'"[",' * 1_400_000 + b'""]',
            b'["' + b'\\"[' * 3_000_000 + b'"]',
            b'{"a":' + b'"[[",' * 2_000_000,
        ],
        ids=lambda body: repr(body[:12]),
    )
    def test_is_counted_fast(self, body):
        began = time.process_time()
        is_too_complex(body)

        assert time.process_time() - began < 0.1 * len(body) / 1_000_000  # several times as long as it takes

    @pytest.mark.parametrize("path", ["/v1/sync", "/v1/products"])
    def test_gets_413_before_it_is_parsed(self, api, all_rows, path):
        before = all_rows()

        response = api.post(path, b"[" + b"{}," * MAX_CONTAINERS + b"{}]", content_type="application/json")

        assert response.status_code == 413
        assert response.json()["detail"].startswith("The body has more than 120,000 objects and arrays")
        assert all_rows() == before
