"""The WSGI application of the web process: database timeouts, and less work per request."""

import os
import threading

from django.conf import settings
from django.core.cache import BaseCache, caches, close_caches
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections, connections, reset_queries
from django.urls import base as urls
from django.urls import get_resolver

from countonme.db.postgresql import set_timeout
from countonme.environment import invalid_setting, is_writable_file

# As in manage.py: only the user who runs the service can read the files it creates, such as SQLite's db.sqlite3-wal.
os.umask(0o077)
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "countonme.settings")

# Here and not in the settings, because other users may run commands.
if not is_writable_file(settings.ERASURE_LEDGER):
    form = "a file that the user of the service can write, in an existing folder"
    raise invalid_setting("ERASURE_LEDGER", settings.ERASURE_LEDGER, form)
set_timeout(settings.DATABASE_TIMEOUT, settings.DATABASES["default"])
application = get_wsgi_application()
# Load all views before gunicorn forks its workers. Otherwise the first request of each worker waits for it.
get_resolver().url_patterns  # noqa: B018

# No event loop runs here. Django's own storages look for one at each use (docs/internals.md).
connections._connections, urls._prefixes, urls._urlconfs = (threading.local() for _ in range(3))

# Receivers of Django's signals that run at each request and have nothing to do here.
request_started.disconnect(close_old_connections)  # the end of a request does the same
if not settings.DEBUG:
    request_started.disconnect(reset_queries)  # queries are kept only with DEBUG
if all(type(cache).close is BaseCache.close for cache in caches.all()):
    request_finished.disconnect(close_caches)  # they have nothing to close
