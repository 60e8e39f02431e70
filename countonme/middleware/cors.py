from corsheaders.middleware import CorsMiddleware


class BrowsersMiddleware(CorsMiddleware):
    """Say to browsers which sites may read an answer. Who names no site is told that it depends on it, no more."""

    def __call__(self, request):
        if "HTTP_ORIGIN" in request.META:
            return super().__call__(request)
        response = self.get_response(request)
        if self.is_enabled(request):
            said = response.headers.get("Vary")
            response.headers["Vary"] = f"{said}, origin" if said else "origin"
        return response
