"""Limit the size of request bodies, before any view runs."""

from contextlib import suppress
from io import BytesIO

from django.conf import settings
from django.http import JsonResponse

from countonme.api.errors import bad_request
from countonme.api.parsers import content_length

CHUNK = 64 * 1024
MAX_DRAINED = 32 * 1024 * 1024


class BodyMiddleware:
    """Refuses a body over the limit. Reads a chunked body, which Django ignores, and sets its length.

    A refused body is read first, up to MAX_DRAINED bytes. If the server closed the connection while the client is still
    sending, the connection would be reset, and the client would not see the response.
    """

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        limit = settings.SYNC_MAX_BODY if request.path_info == "/v1/sync" else settings.MAX_BODY
        length = content_length(request)
        stream = request.META.get("wsgi.input")
        is_chunked = (
            not length and request.META.get("wsgi.input_terminated") and "HTTP_TRANSFER_ENCODING" in request.META
        )
        if request.META.get("HTTP_CONTENT_ENCODING", "identity").lower() != "identity":
            drain(stream, MAX_DRAINED if is_chunked else min(length, MAX_DRAINED))
            return unsupported_encoding()
        if length > limit:
            drain(stream, min(length, MAX_DRAINED))
            return too_large(limit)
        if is_chunked:
            try:
                body = stream.read(limit + 1)
                if len(body) > limit:
                    drain(stream, MAX_DRAINED)
            except Exception:  # noqa: BLE001 - invalid or missing chunks: the server's exceptions are not documented
                return bad_request(request)
            if len(body) > limit:
                return too_large(limit)
            environ = request.environ | {"CONTENT_LENGTH": str(len(body)), "wsgi.input": BytesIO(body)}
            request.__init__(environ)  # as if it had a Content-Length; other attributes stay
        response = self.get_response(request)
        if length and response.status_code in (403, 429):  # the token is valid; the body may not have been read
            drain(request, MAX_DRAINED)
        return response


def drain(stream, length: int) -> None:
    """Read and discard up to `length` bytes. If the client fails to send them, it gets the response all the same."""
    with suppress(Exception):  # the server's exceptions are not documented
        while length > 0 and (read := stream.read(min(CHUNK, length))):
            length -= len(read)


def too_large(limit: int) -> JsonResponse:
    return JsonResponse({"detail": f"The body is larger than {limit} bytes."}, status=413)


def unsupported_encoding() -> JsonResponse:
    """Return a 415: a small compressed body could be a very large one."""
    body = {"detail": "Compressed bodies are not accepted. Send the body without a Content-Encoding."}
    return JsonResponse(body, status=415, headers={"Accept-Encoding": "identity"})
