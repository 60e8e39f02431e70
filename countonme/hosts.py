PROBES = ("/healthz", "/readyz", "/metrics")


class HostMiddleware:
    """Answer under the names in `ALLOWED_HOSTS` only. Probes come from inside, under any name."""

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        if request.path_info not in PROBES:
            request.get_host()
        return self.get_response(request)
