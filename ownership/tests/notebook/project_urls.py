"""The project's URLs, and the line that a new app adds to them."""

from django.urls import include, path

from countonme.urls import *  # noqa: F403
from countonme.urls import urlpatterns

urlpatterns = [path("v1/", include("ownership.tests.notebook.urls")), *urlpatterns]
