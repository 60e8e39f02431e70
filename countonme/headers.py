"""What a browser may do with an answer."""

# No script and no style but from files of this service; pictures may stand in the style sheets. Nothing in a frame.
PAGE = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
DATA = "default-src 'none'; frame-ancestors 'none'"


class HeadersMiddleware:
    """Say with every answer what may be done with it; whoever made it may have said so before.

    What somebody eats is nobody else's: no cache stores it, except for the reads that say how they may be kept.
    """

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        response = self.get_response(request)
        is_page = response.headers.get("Content-Type", "").startswith("text/html")
        response.headers.setdefault("Content-Security-Policy", PAGE if is_page else DATA)
        response.headers.setdefault("Cache-Control", "no-store")
        response.headers.setdefault("X-Frame-Options", "DENY")
        return response
