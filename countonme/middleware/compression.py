"""Compress responses with gzip if the client accepts it."""

from django.utils.cache import patch_vary_headers

from countonme.api import compression
from countonme.middleware.admin_only import ADMIN


class CompressionMiddleware:
    """Compresses every response that is not small, and sets `Vary: Accept-Encoding`, except for two kinds.

    - SecretResponse, and pages of the admin. If an attacker controls a part of a compressed response, its length can
      reveal a secret in another part (BREACH). All other responses contain only what the device itself has sent.
    - Streamed responses. They are files, or a `Body`, which is compressed already.
    """

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        response = self.get_response(request)
        if not response_may_be_compressed(request, response):
            return response
        patch_vary_headers(response, ["Accept-Encoding"])
        if (
            not response.streaming
            and len(response.content) > compression.SMALL
            and "Content-Encoding" not in response
            and compression.accepts_gzip(request)
        ):
            response.content = compression.compress(response.content)
            response["Content-Encoding"] = "gzip"
        return response


def response_may_be_compressed(request, response) -> bool:
    return getattr(response, "compressible", True) and not request.path_info.startswith(ADMIN)
