import os

from django.conf import settings
from django.core.wsgi import get_wsgi_application

from countonme.timeouts import give_up_after

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "countonme.settings")

give_up_after(settings.DATABASE_TIMEOUT, settings.DATABASES["default"])
application = get_wsgi_application()
