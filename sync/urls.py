from django.urls import path

from sync.views import SyncViewSet

urlpatterns = [
    path("v1/sync", SyncViewSet.as_view({"get": "pull", "post": "push"})),
]
