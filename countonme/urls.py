from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

from countonme.api import health, schema_views
from countonme.observability import metrics
from support.sign_in import sign_in

handler400 = "countonme.api.errors.bad_request"
handler403 = "countonme.api.errors.permission_denied"
handler404 = "countonme.api.errors.not_found"
handler500 = "countonme.api.errors.server_error"

v1 = [  # the routes that clients call most come first
    path("", include("food_entries.urls")),
    path("", include("products.urls")),
    path("", include("sync.urls")),
    path("", include("devices.urls")),
    path("", include("account.urls")),
    path("schema", schema_views.SchemaView.as_view(), name="schema"),
    path("docs", schema_views.DocsView.as_view(), name="docs"),
]
urlpatterns = [
    path("v1/", include(v1)),
    path("healthz", health.HealthView.as_view(), name="healthz"),
    path("readyz", health.ReadyView.as_view(), name="readyz"),
    path("metrics", metrics.page, name="metrics"),
    path("admin", RedirectView.as_view(url="/admin/")),
    path("admin/login/", sign_in),
    path("admin/", admin.site.urls),
]
