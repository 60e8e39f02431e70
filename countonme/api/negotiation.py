"""Content negotiation with a short cut for clients that accept JSON."""

from rest_framework.negotiation import DefaultContentNegotiation

ANYTHING = {"", "*/*", "application/json", "application/json, */*", "application/json, text/plain, */*"}


class JSONFirst(DefaultContentNegotiation):
    """DRF's negotiation, skipped for the usual `Accept` headers if the view's first renderer is JSON."""

    def select_renderer(self, request, renderers, format_suffix=None):
        if request.META.get("HTTP_ACCEPT", "") in ANYTHING and renderers[0].media_type == "application/json":
            return renderers[0], renderers[0].media_type
        return super().select_renderer(request, renderers, format_suffix)
