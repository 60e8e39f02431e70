from django.urls import path

from devices import views

urlpatterns = [
    path("auth/register", views.RegisterView.as_view()),
    path("auth/rotate", views.RotateView.as_view()),
    path("devices/me", views.MeView.as_view()),
]
