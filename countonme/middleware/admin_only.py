"""Django's middleware for sessions, CSRF, authentication and messages, which runs only under `/admin/`."""

from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.messages.middleware import MessageMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.middleware.csrf import CsrfViewMiddleware

from countonme.api.errors import process_exception
from countonme.db.postgresql import extended_timeout, ping_if_limited

ADMIN = "/admin/"


class AdminOnly:
    """Mixin for Django's middleware classes: skips requests outside of the admin."""

    def __call__(self, request):
        if request.path_info.startswith(ADMIN):
            return super().__call__(request)
        return self.get_response(request)


class AdminSession(SessionMiddleware):
    """Also extends the database timeout for the admin, because its pages may read a whole table."""

    def __call__(self, request):
        if not request.path_info.startswith(ADMIN):
            return self.get_response(request)
        ping_if_limited()
        with extended_timeout():
            return super().__call__(request)

    def process_exception(self, request, exception):
        """Return a 503 after a database timeout. Of Django's own views, only the admin's use the database."""
        return process_exception(exception)


class AdminCsrf(AdminOnly, CsrfViewMiddleware):
    """Its check, `process_view()`, runs on every path. The API's views are exempt from it."""


class AdminAuthentication(AdminOnly, AuthenticationMiddleware):
    pass


class AdminMessages(AdminOnly, MessageMiddleware):
    pass
