"""Django's middleware for `/admin/`. A request to any other path goes straight on to the next middleware."""

from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.messages.middleware import MessageMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.middleware.csrf import CsrfViewMiddleware

from countonme.api.errors import process_exception
from countonme.db.postgresql import ask_whether_it_is_there, at_length

ADMIN = "/admin/"


class AdminOnly:
    """Makes a subclass of one of Django's middleware classes do its work on the admin's pages only."""

    def __call__(self, request):
        if request.path_info.startswith(ADMIN):
            return super().__call__(request)
        return self.get_response(request)


class AdminSession(SessionMiddleware):
    """Also gives a page of the admin more time for its statements, because it may read a whole table."""

    def __call__(self, request):
        if not request.path_info.startswith(ADMIN):
            return self.get_response(request)
        ask_whether_it_is_there()
        with at_length():
            return super().__call__(request)

    def process_exception(self, request, exception):
        """Respond to a statement that was ended. Of Django's own views only the admin's use the database."""
        return process_exception(exception)


class AdminCsrf(AdminOnly, CsrfViewMiddleware):
    """Its check is a hook that runs on every path, before the view. The API's views are exempt from it."""


class AdminAuthentication(AdminOnly, AuthenticationMiddleware):
    pass


class AdminMessages(AdminOnly, MessageMiddleware):
    pass
