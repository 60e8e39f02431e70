"""The project's URLs, and the line that a new app adds to them."""

from countonme.urls import *  # noqa: F403
from countonme.urls import join, urlpatterns
from ownership.tests.notebook.urls import urlpatterns as notebook

urlpatterns = [*join("v1/", notebook), *urlpatterns]
