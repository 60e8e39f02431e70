import gzip
import os

import pytest
from django.http import HttpResponseBase
from django.test import RequestFactory

from countonme.api import compression
from countonme.api.compression import Body, accepts_gzip

JSON = "application/json"


@pytest.mark.parametrize(
    ("header", "accepted"),
    [
        *((header, True) for header in ("gzip", "GZIP", "br, gzip", "gzip;q=0.001", "gzip; q=1.0, br", "x-gzip", "*")),
        *((header, True) for header in ("gzip, identity", "identity;q=0.5, *;q=0.6", "identity;q=0, *", "br;q=0, *")),
        *((header, False) for header in ("", "br", "identity", "gzip;q=0", "gzip; Q=0.000, br", "gzipped", ",;q=0,")),
        *((header, False) for header in ("*;q=0", "gzip;q=0, *", "gzip;q=0.5, identity", "gzip;q=2", "gzip;q=x")),
    ],
)
def test_gzip_is_accepted_by_its_weight(header, accepted):
    assert accepts_gzip(RequestFactory().get("/", headers={"Accept-Encoding": header})) is accepted


def test_gzip_is_not_accepted_without_the_header():
    assert accepts_gzip(RequestFactory().get("/")) is False


class TestABody:
    @pytest.fixture(autouse=True)
    def _few_bytes(self, monkeypatch):
        monkeypatch.setattr(compression, "LARGE", 1000)
        monkeypatch.setattr(compression, "BLOCK", 700)

    def written(self, *parts: bytes, accepts: bool) -> tuple[bytes, bytes, HttpResponseBase]:
        """Return the decompressed body, the body that is sent, and the response."""
        body = Body(gzip=accepts)
        for part in parts:
            body.write(part)
        response = body.response(JSON)
        assert body.size == sum(map(len, parts))
        assert response["Content-Type"] == JSON
        sent = response.getvalue()
        assert int(response.get("Content-Length", len(sent))) == len(sent)
        return gzip.decompress(sent) if response.get("Content-Encoding") == "gzip" else sent, sent, response

    @pytest.mark.parametrize("size", [0, 1, 999, 1000, 1001, 1024, 1025, 50_000])
    @pytest.mark.parametrize("accepts", [True, False])
    def test_is_sent_unchanged(self, size, accepts):
        data = os.urandom(size)

        assert self.written(data, accepts=accepts)[0] == data
        parts = [memoryview(data)[start : start + 150] for start in range(0, size, 150)]
        assert self.written(*parts, accepts=accepts)[0] == data

    @pytest.mark.parametrize(("size", "encoding"), [(1024, None), (1025, "gzip"), (50_000, "gzip")])
    def test_is_compressed_unless_it_is_small(self, size, encoding):
        _, sent, response = self.written(b"x" * size, accepts=True)

        assert response.get("Content-Encoding") == encoding
        assert (len(sent) < size) == (encoding is not None)

    def test_is_decompressed_in_blocks_for_a_client_that_does_not_accept_gzip(self):
        body = Body(gzip=False)
        for _ in range(100):
            body.write(b"x" * 500)
        response = body.response(JSON)
        blocks = list(response)

        assert response["Content-Length"] == "50000"
        assert sum(map(len, body.parts)) < 1000
        assert max(map(len, blocks)) <= 700
        assert b"".join(blocks) == b"x" * 50_000
