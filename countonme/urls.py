from django.contrib import admin
from django.urls import path
from django.views.generic import RedirectView

from account.urls import urlpatterns as of_account
from countonme.api import health, schema_views
from countonme.observability import metrics
from devices.urls import urlpatterns as of_devices
from food_entries.urls import urlpatterns as of_food_entries
from products.urls import urlpatterns as of_products
from support.sign_in import sign_in
from sync.urls import urlpatterns as of_sync

handler400 = "countonme.api.errors.bad_request"
handler403 = "countonme.api.errors.permission_denied"
handler404 = "countonme.api.errors.not_found"
handler500 = "countonme.api.errors.server_error"

urlpatterns = [  # what phones ask for most comes first
    *of_food_entries,
    *of_products,
    *of_sync,
    *of_devices,
    *of_account,
    path("healthz", health.HealthView.as_view()),
    path("readyz", health.ReadyView.as_view()),
    path("metrics", metrics.page),
    path("v1/schema", schema_views.SchemaView.as_view(), name="schema"),
    path("v1/docs", schema_views.DocsView.as_view()),
    path("admin", RedirectView.as_view(url="/admin/")),
    path("admin/login/", sign_in),
    path("admin/", admin.site.urls),
]
