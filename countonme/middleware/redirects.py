"""Permanent redirects that keep the method and the body of the request."""

from countonme.middleware.body_limit import MAX_DRAINED, drain


class RedirectMiddleware:
    """Sends `308` instead of `301`: after a 301, clients repeat a POST as a GET without its body.

    It reads the body first, as BodyMiddleware does, so that the client sees the response.
    """

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        response = self.get_response(request)
        if response.status_code == 301:
            response.status_code = 308
            drain(request, MAX_DRAINED)
        return response
