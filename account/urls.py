from django.urls import path

from account import views

urlpatterns = [
    path("devices/me", views.MeView.as_view(), name="me"),
    path("erasures/<row_id:pk>", views.ErasureView.as_view(), name="erasure"),
]
