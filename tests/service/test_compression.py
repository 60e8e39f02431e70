"""Which responses are compressed, and their headers."""

import gzip
import json
from uuid import uuid4

import pytest

from countonme.api import compression
from ownership.models import change_set
from products.tests.factories import ProductFactory

GZIP = {"Accept-Encoding": "gzip"}


def vary(response) -> set[str]:
    return set(response["Vary"].lower().split(", "))


def body_of(response) -> bytes:
    """Return the body of a compressed response."""
    assert response["Content-Encoding"] == "gzip"
    assert int(response["Content-Length"]) == len(response.content)
    return gzip.decompress(response.content)


class TestAResponse:
    @pytest.fixture(autouse=True)
    def _products(self, device):
        with change_set(device):
            for _ in range(20):
                ProductFactory(device=device)

    @pytest.mark.parametrize(
        "path", ["/v1/products", "/v1/sync", "/v1/schema", "/v1/docs", "/v1", "/", "/v1/products?limit=0&offset=-1"]
    )
    def test_is_compressed_if_the_client_accepts_it(self, api, path, monkeypatch):
        monkeypatch.setattr(compression, "SMALL", 100)
        plain = api.get(path)

        response = api.get(path, headers=GZIP)

        assert body_of(response) == plain.content
        assert len(response.content) < len(plain.content)
        assert "Content-Encoding" not in plain
        assert response.get("ETag") == plain.get("ETag")
        assert "accept-encoding" in vary(response) == vary(plain)

    def test_is_compressed_after_a_write(self, api):
        entries = [{"grams": -1} for _ in range(100)]

        response = api.post("/v1/food-entries/batch", entries, headers=GZIP)

        assert response.status_code == 422
        assert len(json.loads(body_of(response))["errors"]) >= 100

    def test_has_the_same_headers_if_there_is_no_body(self, api):
        got, response = api.get("/v1/products", headers=GZIP), api.head("/v1/products", headers=GZIP)

        assert response.content == b""
        for header in ("Content-Length", "Content-Encoding", "ETag", "Vary"):
            assert response[header] == got[header]

    @pytest.mark.parametrize("accepted", ["gzip", "identity"])
    def test_is_a_304_whatever_encoding_the_client_has(self, api, accepted):
        etag = api.get("/v1/products", headers={"Accept-Encoding": accepted})["ETag"]

        response = api.get("/v1/products", headers={"If-None-Match": etag} | GZIP)

        assert response.status_code == 304
        assert etag.startswith('W/"')
        assert "Content-Encoding" not in response
        assert vary(response) == {"authorization", "accept-encoding", "origin"}

    def test_is_not_compressed_if_it_is_small(self, api, monkeypatch):
        size = len(api.get("/v1/products").content)
        monkeypatch.setattr(compression, "SMALL", size)

        response = api.get("/v1/products", headers=GZIP)

        assert "Content-Encoding" not in response
        assert len(response.content) == size

    def test_is_not_compressed_if_it_has_a_token(self, api, anonymous, monkeypatch):
        monkeypatch.setattr(compression, "SMALL", 0)

        for response in (
            anonymous.post("/v1/auth/register", {"device_id": uuid4()}, headers=GZIP),
            api.post("/v1/auth/rotate", headers=GZIP),
        ):
            assert response.json().keys() == {"token"}
            assert "Content-Encoding" not in response
            assert "accept-encoding" not in vary(response)

    def test_is_not_compressed_in_the_admin(self, anonymous, monkeypatch):
        monkeypatch.setattr(compression, "SMALL", 0)

        response = anonymous.get("/admin/login/", headers=GZIP)

        assert b"csrfmiddlewaretoken" in response.content
        assert "Content-Encoding" not in response

    def test_is_not_compressed_if_it_is_a_file(self, anonymous):
        response = anonymous.get("/static/admin/css/base.css", headers=GZIP)

        assert b"".join(response)
        assert "Content-Encoding" not in response
