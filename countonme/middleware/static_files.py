"""Static files of the admin and the docs, and `/favicon.ico`."""

from whitenoise.middleware import WhiteNoiseMiddleware

from countonme.api.errors import method_not_allowed

METHODS = ("GET", "HEAD")


class StaticFilesMiddleware(WhiteNoiseMiddleware):
    """WhiteNoise, except that its 405 responses are JSON."""

    @staticmethod
    def serve(static_file, request):
        if request.method not in METHODS:
            return method_not_allowed(request, METHODS)
        return WhiteNoiseMiddleware.serve(static_file, request)
