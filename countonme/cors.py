from corsheaders.middleware import CorsMiddleware
from django.utils.cache import patch_vary_headers


class BrowsersMiddleware(CorsMiddleware):
    """Say to browsers which sites may read an answer. Who names no site is told that it depends on it, no more."""

    def __call__(self, request):
        if "HTTP_ORIGIN" in request.META:
            return super().__call__(request)
        response = self.get_response(request)
        if self.is_enabled(request):
            patch_vary_headers(response, ["origin"])
        return response
