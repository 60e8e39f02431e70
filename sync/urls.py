from django.urls import path

from sync.views import SyncViewSet

urlpatterns = [
    path("sync", SyncViewSet.as_view({"get": "pull", "post": "push"}), name="sync"),
]
