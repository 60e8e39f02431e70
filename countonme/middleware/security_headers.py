"""Security headers: Content-Security-Policy, Cache-Control and others."""

from django.http.response import ResponseHeaders

# Scripts and styles only from files of this service. Style sheets may contain images. No frames.
PAGE = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
DATA = "default-src 'none'; frame-ancestors 'none'"


def build_headers(policy: str) -> dict[str, tuple[str, str]]:
    headers = {
        "Content-Security-Policy": policy,
        "Cache-Control": "no-store",
        "X-Frame-Options": "DENY",
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "same-origin",
        "Cross-Origin-Opener-Policy": "same-origin",
    }
    return ResponseHeaders(headers)._store


class HeadersMiddleware:
    """Adds the security headers to every response. Headers that the view has set stay.

    The data is private, so no cache may store it. Views of conditional reads set their own `Cache-Control`.
    """

    def __init__(self, get_response):
        self.get_response = get_response
        self.page_headers, self.data_headers = build_headers(PAGE), build_headers(DATA)

    def __call__(self, request):
        response = self.get_response(request)
        headers = response.headers._store  # the gain is in docs/internals.md
        _, content_type = headers.get("content-type", ("", ""))
        defaults = self.page_headers if content_type.startswith("text/html") else self.data_headers
        response.headers._store = {**defaults, **headers}
        return response
