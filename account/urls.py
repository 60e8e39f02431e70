from django.urls import path

from account import views

urlpatterns = [
    path("v1/devices/me", views.MeView.as_view()),
    path("v1/erasures/<row_id:pk>", views.ErasureView.as_view()),
]
