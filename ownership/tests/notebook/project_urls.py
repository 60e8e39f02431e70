"""The URLs of the project, and those of the notebook. A real app adds its URLs to `v1` in `countonme/urls.py`."""

from countonme.urls import *  # noqa: F403
from countonme.urls import join, urlpatterns
from ownership.tests.notebook.urls import urlpatterns as notebook

urlpatterns = [*join("v1/", notebook), *urlpatterns]
