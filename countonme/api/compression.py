"""Gzip compression of responses: CompressionMiddleware, and `Body` for those that are written in parts."""

import re
import zlib
from collections.abc import Iterator
from functools import lru_cache

from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse

SMALL = 1024  # bytes; such a body is not compressed, because it fits into one packet anyway
LARGE = 8 * 1024 * 1024  # bytes; a larger body is kept in memory in compressed form
BLOCK = 64 * 1024
# Level 3 compresses a list of 50 from 17 KB to 4.5 KB in 0.2 ms. Level 6 takes twice the time and saves 7 % more.
LEVEL = 3
GZIP_FORMAT = 31  # zlib's `wbits`
WEIGHT = re.compile(r"q=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)")


def accepts_gzip(request: HttpRequest) -> bool:
    """Return whether the client accepts gzip and does not prefer an uncompressed response."""
    header = request.META.get("HTTP_ACCEPT_ENCODING")
    return bool(header) and prefers_gzip(header)


@lru_cache(maxsize=256)
def prefers_gzip(header: str) -> bool:
    weights = weights_of(header)
    gzip = next((weights[coding] for coding in ("gzip", "x-gzip", "*") if coding in weights), 0)
    return gzip > 0 and gzip >= weights.get("identity", 0)


def weights_of(header: str) -> dict[str, float]:
    """Return the weight of each coding in `Accept-Encoding`. An invalid weight counts as 0."""
    weights = {}
    for item in re.sub(r"\s", "", header.lower()).split(","):
        coding, _, weight = item.partition(";")
        match = WEIGHT.fullmatch(weight or "q=1")
        weights[coding] = float(match[1]) if match else 0
    return weights


def compress(body: bytes) -> bytes:
    return zlib.compress(body, LEVEL, GZIP_FORMAT)


class Body:
    """A response body that is written in parts. A large one is kept in memory in compressed form.

    If the client does not accept gzip, the body is decompressed block by block while it is sent. So neither the
    client's headers nor its slow connection can make a response take more memory. The parts are not joined: a buffer
    that grows is copied again and again, and fragments the memory of the process.
    """

    def __init__(self, *, gzip: bool, large: int | None = None):
        self.gzip = gzip
        self.large = LARGE if large is None else large
        self.size = 0  # bytes, uncompressed
        self.parts: list[bytes] = []
        self.compressor = None

    def write(self, data: bytes | memoryview) -> None:
        self.size += len(data)
        self.parts.append(self.compressor.compress(data) if self.compressor else bytes(data))
        if self.compressor is None and (self.size > SMALL if self.gzip else self.size >= self.large):
            self.compressor = zlib.compressobj(LEVEL, zlib.DEFLATED, GZIP_FORMAT)
            self.parts = [self.compressor.compress(part) for part in self.parts]

    def response(self, content_type: str) -> HttpResponseBase:
        """Return the response, streamed if it is large. Call this once, after the last `write()`."""
        if self.compressor:
            self.parts.append(self.compressor.flush())
        headers = {"Content-Encoding": "gzip"} if self.compressor and self.gzip else {}
        if self.size < self.large:
            return HttpResponse(b"".join(self.parts), content_type, headers=headers)
        headers["Content-Length"] = str(sum(map(len, self.parts)) if self.gzip else self.size)
        blocks = self.parts if self.gzip else decompress(self.parts)
        return StreamingHttpResponse(blocks, content_type=content_type, headers=headers)


def decompress(parts: list[bytes]) -> Iterator[bytes]:
    """Decompress the parts and yield the data in blocks."""
    decompressor = zlib.decompressobj(GZIP_FORMAT)
    for part in parts:
        rest = part
        while rest:
            yield decompressor.decompress(rest, BLOCK)
            rest = decompressor.unconsumed_tail
    yield decompressor.flush()
