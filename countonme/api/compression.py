"""Compressed responses: Django's gzip_page for ordinary ones, and a body that is compressed while it is written."""

import re
import zlib
from collections.abc import Iterator

from django.http import HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.middleware.gzip import GZipMiddleware
from django.utils.cache import patch_vary_headers
from django.utils.decorators import decorator_from_middleware

SMALL = 200  # bytes; compression would not make them fewer
LARGE = 8 * 1024 * 1024  # bytes that a body may hold in memory without being compressed
BLOCK = 64 * 1024
LEVEL = 3  # of a large pull: 9 % more bytes than by level 6, in half the time
GZIP_FORMAT = 31  # zlib's `wbits`
DECLINED = re.compile(r"\s*q\s*=\s*0(\.0*)?\s*")


def accepts_gzip(request) -> bool:
    """Return whether the client accepts gzip, which `gzip;q=0` declines."""
    for item in request.META.get("HTTP_ACCEPT_ENCODING", "").lower().split(","):
        coding, _, weight = item.partition(";")
        if coding.strip() in ("gzip", "x-gzip"):
            return not DECLINED.fullmatch(weight)
    return False


class GzipIfAccepted(GZipMiddleware):
    """Django's GZipMiddleware, except that `gzip;q=0` declines it, and that every response has the `Vary` header."""

    def process_response(self, request, response):
        patch_vary_headers(response, ("Accept-Encoding",))
        return super().process_response(request, response) if accepts_gzip(request) else response


gzip_if_accepted = decorator_from_middleware(GzipIfAccepted)


class Body:
    """A response body that is written in parts. In memory, a large one is compressed for every client.

    A client that does not accept gzip gets it decompressed block by block, while it is sent. So a client decides
    neither by its headers nor by the speed of its connection how much memory its response takes. The parts stay apart:
    one buffer that grows to their size would be moved about, and leave holes in the memory of the process.
    """

    def __init__(self, *, gzip: bool):
        self.gzip = gzip
        self.size = 0  # bytes, uncompressed
        self.parts: list[bytes] = []
        self.compressor = None

    def write(self, data: bytes | memoryview) -> None:
        self.size += len(data)
        self.parts.append(self.compressor.compress(data) if self.compressor else bytes(data))
        if self.compressor is None and self.size >= (SMALL if self.gzip else LARGE):
            self.compressor = zlib.compressobj(LEVEL, zlib.DEFLATED, GZIP_FORMAT)
            self.parts = [self.compressor.compress(part) for part in self.parts]

    def response(self, content_type: str) -> HttpResponseBase:
        """Return the response with all that was written, which is streamed if it is large. Call it once, at the end."""
        if self.compressor:
            self.parts.append(self.compressor.flush())
        headers = {"Content-Encoding": "gzip"} if self.compressor and self.gzip else {}
        if self.size < LARGE:
            return HttpResponse(b"".join(self.parts), content_type, headers=headers)
        headers["Content-Length"] = str(sum(map(len, self.parts)) if self.gzip else self.size)
        blocks = self.parts if self.gzip else decompressed(self.parts)
        return StreamingHttpResponse(blocks, content_type=content_type, headers=headers)


def decompressed(parts: list[bytes]) -> Iterator[bytes]:
    """Yield what the parts were before they were compressed, in blocks."""
    decompressor = zlib.decompressobj(GZIP_FORMAT)
    for part in parts:
        rest = part
        while rest:
            yield decompressor.decompress(rest, BLOCK)
            rest = decompressor.unconsumed_tail
    yield decompressor.flush()
