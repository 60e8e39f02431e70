"""Bodies have a bounded size, before any view sees them."""

from contextlib import suppress
from io import BytesIO

from django.conf import settings
from django.http import JsonResponse, UnreadablePostError

from countonme.api.errors import bad_request
from countonme.api.parsers import content_length

CHUNK = 64 * 1024
DRAINED_AT_MOST = 32 * 1024 * 1024


class BodyMiddleware:
    """Refuse a body over the limit before any view sees it, and give a chunked one, which Django drops, its length.

    What is refused is read to its end first, within reason: a server that hangs up on a client which is still
    sending resets the connection, and the client never reads why.
    """

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        limit = settings.SYNC_MAX_BODY if request.path_info == "/v1/sync" else settings.MAX_BODY
        length = content_length(request)
        stream = request.META.get("wsgi.input")
        if request.META.get("HTTP_CONTENT_ENCODING", "identity").lower() != "identity":
            drain(stream, min(length, DRAINED_AT_MOST))
            return encoded()
        if length > limit:
            drain(stream, min(length, DRAINED_AT_MOST))
            return too_large(limit)
        if not length and request.META.get("wsgi.input_terminated") and "HTTP_TRANSFER_ENCODING" in request.META:
            try:
                body = stream.read(limit + 1)
                if len(body) > limit:
                    drain(stream, DRAINED_AT_MOST)
            except Exception:  # noqa: BLE001 - whatever the server calls chunks that break off, or are none
                return bad_request(request)
            if len(body) > limit:
                return too_large(limit)
            environ = request.environ | {"CONTENT_LENGTH": str(len(body)), "wsgi.input": BytesIO(body)}
            request.__init__(environ)  # as if it had come with its length; what else is set on it stays
        response = self.get_response(request)
        if length and response.status_code in (403, 429):  # the token is right; the body may not have been read
            with suppress(UnreadablePostError):
                drain(request, DRAINED_AT_MOST)
        return response


def drain(stream, length: int) -> None:
    while length > 0 and (read := stream.read(min(CHUNK, length))):
        length -= len(read)


def too_large(limit: int) -> JsonResponse:
    return JsonResponse({"detail": f"The body is larger than {limit} bytes."}, status=413)


def encoded() -> JsonResponse:
    """A small body that is unpacked here could be a very large one."""
    answer = {"detail": "Bodies are taken as they are, without a Content-Encoding."}
    return JsonResponse(answer, status=415, headers={"Accept-Encoding": "identity"})
