"""CORS headers: which sites may read a response in a browser."""

from corsheaders.middleware import CorsMiddleware


class OriginCorsMiddleware(CorsMiddleware):
    """CorsMiddleware that only adds `Vary: origin` if the request has no `Origin` header."""

    def __call__(self, request):
        if "HTTP_ORIGIN" in request.META:
            return super().__call__(request)
        response = self.get_response(request)
        if self.is_enabled(request):
            vary = response.headers.get("Vary")
            response.headers["Vary"] = f"{vary}, origin" if vary else "origin"
        return response
