"""Gzip compression of responses: Django's `gzip_page` for small ones, and `Body` for large ones."""

import re
import zlib
from collections.abc import Iterator

from django.http import HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.middleware.gzip import GZipMiddleware
from django.utils.cache import patch_vary_headers
from django.utils.decorators import decorator_from_middleware

SMALL = 200  # bytes; compression would not make such a body smaller
LARGE = 8 * 1024 * 1024  # bytes; a larger body is kept in memory in compressed form
BLOCK = 64 * 1024
LEVEL = 3  # a large pull is 9 % larger than with level 6, and takes half the time
GZIP_FORMAT = 31  # zlib's `wbits`
DECLINED = re.compile(r"\s*q\s*=\s*0(\.0*)?\s*")


def accepts_gzip(request) -> bool:
    """Return whether the client accepts gzip. `gzip;q=0` means that it does not."""
    for item in request.META.get("HTTP_ACCEPT_ENCODING", "").lower().split(","):
        coding, _, weight = item.partition(";")
        if coding.strip() in ("gzip", "x-gzip"):
            return not DECLINED.fullmatch(weight)
    return False


class GzipIfAccepted(GZipMiddleware):
    """Django's GZipMiddleware, except that it respects `gzip;q=0` and adds `Vary` to every response."""

    def process_response(self, request, response):
        patch_vary_headers(response, ("Accept-Encoding",))
        return super().process_response(request, response) if accepts_gzip(request) else response


gzip_if_accepted = decorator_from_middleware(GzipIfAccepted)


class Body:
    """A response body that is written in parts. A large one is kept in memory in compressed form.

    If the client does not accept gzip, the body is decompressed block by block while it is sent. So neither the
    client's headers nor its slow connection can make a response take more memory. The parts are not joined: a buffer
    that grows is copied again and again, and fragments the memory of the process.
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
        """Return the response, streamed if it is large. Call this once, after the last `write()`."""
        if self.compressor:
            self.parts.append(self.compressor.flush())
        headers = {"Content-Encoding": "gzip"} if self.compressor and self.gzip else {}
        if self.size < LARGE:
            return HttpResponse(b"".join(self.parts), content_type, headers=headers)
        headers["Content-Length"] = str(sum(map(len, self.parts)) if self.gzip else self.size)
        blocks = self.parts if self.gzip else decompressed(self.parts)
        return StreamingHttpResponse(blocks, content_type=content_type, headers=headers)


def decompressed(parts: list[bytes]) -> Iterator[bytes]:
    """Decompress the parts and yield the data in blocks."""
    decompressor = zlib.decompressobj(GZIP_FORMAT)
    for part in parts:
        rest = part
        while rest:
            yield decompressor.decompress(rest, BLOCK)
            rest = decompressor.unconsumed_tail
    yield decompressor.flush()
