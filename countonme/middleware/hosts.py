KEPT_AT_MOST = 100
PROBES = ("/healthz", "/readyz", "/metrics")


class HostMiddleware:
    """Answer under the names in `ALLOWED_HOSTS` only. Probes come from inside, under any name."""

    def __init__(self, get_response):
        self.get_response = get_response
        self.allowed = set()  # some that were found to be, so that it is not found out at every request

    def __call__(self, request):
        host = request.META.get("HTTP_HOST")
        if host not in self.allowed and request.path_info not in PROBES:
            request.get_host()
            if len(self.allowed) < KEPT_AT_MOST:
                self.allowed.add(host)
        return self.get_response(request)
