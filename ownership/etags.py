"""Reads that are sent only to who has another answer."""

import hashlib

from django.http import HttpRequest, HttpResponseBase, HttpResponseNotModified
from django.utils.http import parse_etags
from rest_framework.request import Request

from devices.authentication import check_early
from devices.models import Device

# The version of what clients read. Raise it with every change of the JSON, so that no phone keeps the old one.
REPRESENTATION = 1


class ConditionalReadsMiddleware:
    """Answer a device that has the newest answer to a read already: by its own row alone, before any view is looked up.

    Whoever names an answer's ETag has been sent that answer, so that there is such a view and it has nothing to refuse.
    """

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        known = request.META.get("HTTP_IF_NONE_MATCH")
        if known and request.method in ("GET", "HEAD"):
            caller = check_early(request)
            if caller:
                etag = etag_of(request, caller[0])
                if known == etag or etag in weak(parse_etags(known)):
                    request.user, request.auth = caller
                    return named(HttpResponseNotModified(), etag)
        return self.get_response(request)


def weak(etags: list[str]) -> list[str]:
    return [f"W/{etag.removeprefix('W/')}" for etag in etags]


def etag_of(request: HttpRequest | Request, device: Device) -> str:
    """Return the name of the answer to a read: by the device's revision, and the whole URL.

    The revision came with the token, before any row was read: an answer can be newer than its ETag, never older.
    """
    meta = request.META
    url = f"{request.scheme}://{meta.get('HTTP_HOST')}{request.path}?{meta.get('QUERY_STRING', '')}"
    of = f"{REPRESENTATION} {device.pk} {device.revision} {device.purged_through} {url}"
    return f'W/"{hashlib.blake2b(of.encode(), digest_size=16).hexdigest()}"'


def named(response: HttpResponseBase, etag: str) -> HttpResponseBase:
    response["ETag"] = etag
    response["Cache-Control"] = "private, no-cache"
    response["Vary"] = "Authorization"
    return response


class ConditionalReads:
    """A viewset whose answers to its `conditional_reads` are named."""

    conditional_reads: tuple[str, ...] = ()

    def finalize_response(self, request, response, *args, **kwargs) -> HttpResponseBase:
        response = super().finalize_response(request, response, *args, **kwargs)
        if response.status_code == 200 and self.action in self.conditional_reads:
            named(response, etag_of(request, request.user))
        return response
