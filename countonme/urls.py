from django.contrib import admin
from django.urls import include, path, register_converter
from django.views.generic import RedirectView

from countonme import docs, health, metrics
from countonme.converters import RowIdConverter
from devices.sign_in import sign_in

register_converter(RowIdConverter, "row_id")

handler400 = "countonme.errors.bad_request"
handler403 = "countonme.errors.permission_denied"
handler404 = "countonme.errors.not_found"
handler500 = "countonme.errors.server_error"

urlpatterns = [
    path("healthz", health.HealthView.as_view()),
    path("readyz", health.ReadyView.as_view()),
    path("metrics", metrics.page),
    path("v1/", include("devices.urls")),
    path("v1/", include("products.urls")),
    path("v1/", include("food_entries.urls")),
    path("v1/", include("sync.urls")),
    path("v1/schema", docs.SchemaView.as_view(), name="schema"),
    path("v1/docs", docs.DocsView.as_view()),
    path("admin", RedirectView.as_view(url="/admin/")),
    path("admin/login/", sign_in),
    path("admin/", admin.site.urls),
]
