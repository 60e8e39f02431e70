"""ETags: respond 304 if the client already has the current representation."""

import hashlib

from django.http import HttpRequest, HttpResponseBase, HttpResponseNotModified
from django.utils.http import parse_etags
from rest_framework.request import Request

from devices.authentication import check_early
from devices.models import Device

# The version of the JSON that clients read, and of which rows a search finds. Raise it with each change, so that no
# client keeps an old representation.
REPRESENTATION = 6


class ConditionalReadsMiddleware:
    """Respond 304 before any view is looked up, after reading only the device's row.

    A client can only know the ETag of a response that it got. So the view exists, and it would not refuse the request.
    """

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        sent = request.META.get("HTTP_IF_NONE_MATCH")
        if sent and request.method in ("GET", "HEAD"):
            caller = check_early(request)
            if caller:
                etag = etag_of(request, caller[0])
                if is_current(sent, etag):
                    request.user, request.auth = caller
                    return set_etag(HttpResponseNotModified(), etag)
        return self.get_response(request)


def is_current(sent: str, etag: str) -> bool:
    """Return whether an If-None-Match header has the ETag."""
    return sent == etag or etag in as_weak(parse_etags(sent))


def as_weak(etags: list[str]) -> list[str]:
    return [f"W/{etag.removeprefix('W/')}" for etag in etags]


def etag_of(request: HttpRequest | Request, device: Device) -> str:
    """Return the ETag of the response to a read, made from the device's revision and the whole URL.

    The revision was read with the token, before any other row. A response can be newer than its ETag, but never older.
    """
    return make_etag(request, f"{REPRESENTATION} {device.pk} {device.revision} {device.purged_through}")


def make_etag(request: HttpRequest | Request, state: str) -> str:
    """Return a weak ETag made from a state and the whole URL."""
    meta = request.META
    url = f"{request.scheme}://{meta.get('HTTP_HOST')}{request.path}?{meta.get('QUERY_STRING', '')}"
    return f'W/"{hashlib.blake2b(f"{state} {url}".encode(), digest_size=16).hexdigest()}"'


def set_etag(response: HttpResponseBase, etag: str, cache_control: str = "private, no-cache") -> HttpResponseBase:
    """Set the ETag and the other caching headers, and return the response."""
    response["ETag"] = etag
    response["Cache-Control"] = cache_control
    response["Vary"] = "Authorization, Accept-Encoding"
    return response


class ConditionalReads:
    """A viewset that sets an ETag on the responses of its `conditional_reads`, a tuple of actions."""

    conditional_reads: tuple[str, ...] = ()

    def finalize_response(self, request, response, *args, **kwargs) -> HttpResponseBase:
        response = super().finalize_response(request, response, *args, **kwargs)
        if response.status_code == 200 and self.action in self.conditional_reads:
            set_etag(response, etag_of(request, request.user))
        return response
