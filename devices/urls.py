from django.urls import path

from devices import views

urlpatterns = [
    path("v1/auth/register", views.RegisterView.as_view()),
    path("v1/auth/rotate", views.RotateView.as_view()),
]
