"""The admin's middleware, which the API has no use for: it is passed by outside of `/admin/`."""

from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.messages.middleware import MessageMiddleware
from django.contrib.sessions.middleware import SessionMiddleware

from countonme.timeouts import ask_whether_it_is_there, at_length


class AdminOnly:
    def __call__(self, request):
        if request.path_info.startswith("/admin/"):
            return super().__call__(request)
        return self.get_response(request)


class AtLength:
    """A page of the admin may go through a whole table."""

    def __call__(self, request):
        ask_whether_it_is_there()
        with at_length():
            return super().__call__(request)


class AdminSession(AdminOnly, AtLength, SessionMiddleware):
    pass


class AdminAuthentication(AdminOnly, AuthenticationMiddleware):
    pass


class AdminMessages(AdminOnly, MessageMiddleware):
    pass
