"""Check the Host header against ALLOWED_HOSTS."""

MAX_CACHED_HOSTS = 100
PROBES = ("/healthz", "/readyz", "/metrics")


class HostMiddleware:
    """Refuses requests whose host is not in `ALLOWED_HOSTS`. Probes come from the inside and may use any host."""

    def __init__(self, get_response):
        self.get_response = get_response
        self.allowed = set()  # a cache of allowed hosts, so that a host is not checked at each request

    def __call__(self, request):
        host = request.META.get("HTTP_HOST")
        if host not in self.allowed and request.path_info not in PROBES:
            request.get_host()
            if len(self.allowed) < MAX_CACHED_HOSTS:
                self.allowed.add(host)
        return self.get_response(request)
