"""ETags of the catalogue, which change with each import, and not with a device's data.

Responses may be used for an hour without a request. After that, a 304 costs no more than the check of the token: each
process remembers the state of the catalogue for a few seconds.
"""

from time import monotonic

from django.http import HttpRequest, HttpResponseBase, HttpResponseNotModified
from rest_framework.request import Request

from catalog.models import CatalogRelease
from devices.authentication import check_early
from ownership.etags import is_current, make_etag, set_etag

# The version of the JSON that clients read, and of which foods a search finds. Raise it with each change.
REPRESENTATION = 3
PREFIX = "/v1/catalog/"
CACHE_CONTROL = "private, max-age=3600"  # seconds
REMEMBERED_FOR = 5.0  # seconds


class CatalogState:
    """The number of the latest import and of its batches, as each process remembers it."""

    def __init__(self):
        self.read_at, self.state = float("-inf"), ""

    def get(self) -> str:
        if monotonic() - self.read_at > REMEMBERED_FOR:
            read_at = monotonic()
            self.state = str(CatalogRelease.objects.order_by("-pk").values_list("pk", "batches").first())
            self.read_at = read_at
        return self.state


state = CatalogState()


def etag_of(request: HttpRequest | Request) -> str:
    """Return the ETag of a response. Read it before the foods: a response can be newer than its ETag, never older."""
    return make_etag(request, f"catalog {REPRESENTATION} {state.get()}")


class CatalogReadsMiddleware:
    """Respond 304 before any view is looked up, after reading only the device's row."""

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        sent = request.META.get("HTTP_IF_NONE_MATCH")
        if sent and request.path.startswith(PREFIX) and request.method in ("GET", "HEAD"):
            caller = check_early(request)
            if caller and is_current(sent, etag := etag_of(request)):
                request.user, request.auth = caller
                return set_etag(HttpResponseNotModified(), etag, CACHE_CONTROL)
        return self.get_response(request)


class CatalogReads:
    """A view that sets the ETag of the catalogue on its responses."""

    conditional_reads = ("list", "retrieve", "get")

    def initial(self, request, *args, **kwargs) -> None:
        super().initial(request, *args, **kwargs)
        self.etag = etag_of(request)

    def finalize_response(self, request, response, *args, **kwargs) -> HttpResponseBase:
        response = super().finalize_response(request, response, *args, **kwargs)
        if response.status_code == 200:
            set_etag(response, self.etag, CACHE_CONTROL)
        return response
