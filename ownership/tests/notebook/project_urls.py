"""The URLs of the project, with the line that a new app adds."""

from countonme.urls import *  # noqa: F403
from countonme.urls import join, urlpatterns
from ownership.tests.notebook.urls import urlpatterns as notebook

urlpatterns = [*join("v1/", notebook), *urlpatterns]
