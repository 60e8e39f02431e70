import os

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.urls import get_resolver

from countonme.timeouts import give_up_after

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "countonme.settings")

give_up_after(settings.DATABASE_TIMEOUT, settings.DATABASES["default"])
application = get_wsgi_application()
# Before gunicorn forks its workers: else each loads all views at its first request, which waits for that.
get_resolver().url_patterns  # noqa: B018
