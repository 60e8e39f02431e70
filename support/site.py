from django.contrib.admin import AdminSite
from django.http import Http404, HttpResponse
from django.urls import path

from support import views
from support.second_factor import is_admitted
from support.sign_in import SignInForm


def not_found(request, **kwargs) -> HttpResponse:
    raise Http404


class SupportSite(AdminSite):
    """The admin site, without the views that find rows of all devices, and without the list of recent actions.

    All its pages need a second factor, if STAFF_SECOND_FACTOR says so, except for those to sign in and out and to set
    up the second factor.
    """

    site_header = "CountOnMe support"
    site_title = "CountOnMe"
    index_title = "Devices, their rows, and the catalogue"
    site_url = "/v1/docs"
    index_template = "support/index.html"
    login_form = SignInForm
    login_template = "support/login.html"

    def has_permission(self, request) -> bool:
        return super().has_permission(request) and is_admitted(request.user)

    def get_urls(self) -> list:
        replaced = [
            path("autocomplete/", not_found, name="autocomplete"),
            path("r/<path:content_type_id>/<path:object_id>/", not_found, name="view_on_site"),
            path("logout/", self.logout, name="logout"),  # also without a second factor
        ]
        added = [
            path("second-factor/", self.admin_view(views.second_factor), name="second_factor"),
            path("second-factor/set-up/", views.set_up, name="set_up_second_factor"),
            path("second-factor/recovery-codes/", self.admin_view(views.recovery_codes), name="recovery_codes"),
        ]
        return replaced + added + super().get_urls()
