from django.contrib import admin
from django.urls import URLPattern, path
from django.views.generic import RedirectView

import account.urls
import catalog.urls
import devices.urls
import food_entries.urls
import products.urls
import sync.urls
from account import service
from countonme.api import health, schema_views
from countonme.observability import metrics
from support.sign_in import sign_in

handler400 = "countonme.api.errors.bad_request"
handler403 = "countonme.api.errors.permission_denied"
handler404 = "countonme.api.errors.not_found"
handler500 = "countonme.api.errors.server_error"


def join(prefix: str, routes: list[URLPattern]) -> list[URLPattern]:
    """Return the routes with a prefix, in one flat list.

    An include() does the same. With one for each app, "a day's summary" (`make bench`) takes 7 % more CPU.
    """
    return [path(f"{prefix}{route.pattern}", route.callback, name=route.name) for route in routes]


v1 = [  # the routes that clients call most come first
    *food_entries.urls.urlpatterns,
    *products.urls.urlpatterns,
    *sync.urls.urlpatterns,
    *catalog.urls.urlpatterns,
    *devices.urls.urlpatterns,
    *account.urls.urlpatterns,
    path("schema", schema_views.SchemaView.as_view(), name="schema"),
    path("docs", schema_views.DocsView.as_view(), name="docs"),
]
urlpatterns = [
    *join("v1/", v1),
    path("v1", service.ServiceView.as_view(), name="service"),
    path("", service.HomeView.as_view(), name="home"),
    path("healthz", health.HealthView.as_view(), name="healthz"),
    path("readyz", health.ReadyView.as_view(), name="readyz"),
    path("metrics", metrics.metrics_view, name="metrics"),
    path("admin", RedirectView.as_view(url="/admin/")),
    path("admin/login/", sign_in),
    path("admin/", admin.site.urls),
]
