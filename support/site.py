from django.contrib.admin import AdminSite
from django.http import Http404, HttpResponse
from django.urls import path


def not_found(request, **kwargs) -> HttpResponse:
    raise Http404


class SupportSite(AdminSite):
    """The admin site, without the views that find rows of all devices, and without the list of recent actions."""

    site_header = "CountOnMe support"
    site_title = "CountOnMe"
    index_title = "Devices and their rows"
    site_url = "/v1/docs"
    index_template = "support/index.html"

    def get_urls(self) -> list:
        removed = [
            path("autocomplete/", not_found, name="autocomplete"),
            path("r/<path:content_type_id>/<path:object_id>/", not_found, name="view_on_site"),
        ]
        return removed + super().get_urls()
