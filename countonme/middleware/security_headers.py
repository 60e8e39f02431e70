"""What a browser may do with an answer."""

from django.http.response import ResponseHeaders

# No script and no style but from files of this service; pictures may stand in the style sheets. Nothing in a frame.
PAGE = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
DATA = "default-src 'none'; frame-ancestors 'none'"


def said_of(policy: str) -> dict[str, tuple[str, str]]:
    said = {
        "Content-Security-Policy": policy,
        "Cache-Control": "no-store",
        "X-Frame-Options": "DENY",
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "same-origin",
        "Cross-Origin-Opener-Policy": "same-origin",
    }
    return ResponseHeaders(said)._store


class HeadersMiddleware:
    """Say with every answer what may be done with it; whoever made it may have said so before.

    What somebody eats is nobody else's: no cache stores it, except for the reads that say how they may be kept.
    """

    def __init__(self, get_response):
        self.get_response = get_response
        self.of_pages, self.of_data = said_of(PAGE), said_of(DATA)

    def __call__(self, request):
        response = self.get_response(request)
        said = response.headers._store  # asking `headers` for each, by an exception, took a tenth of a 304
        _, content_type = said.get("content-type", ("", ""))
        response.headers._store = {**(self.of_pages if content_type.startswith("text/html") else self.of_data), **said}
        return response
