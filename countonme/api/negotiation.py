from rest_framework.negotiation import DefaultContentNegotiation

ANYTHING = {"", "*/*", "application/json", "application/json, */*", "application/json, text/plain, */*"}


class JSONFirst(DefaultContentNegotiation):
    """DRF's negotiation, which need not be gone through for a client that takes what the view has first."""

    def select_renderer(self, request, renderers, format_suffix=None):
        if request.META.get("HTTP_ACCEPT", "") in ANYTHING and renderers[0].media_type == "application/json":
            return renderers[0], renderers[0].media_type
        return super().select_renderer(request, renderers, format_suffix)
