from django.urls import path

from devices import views

urlpatterns = [
    path("auth/register", views.RegisterView.as_view(), name="register"),
    path("auth/rotate", views.RotateView.as_view(), name="rotate"),
]
