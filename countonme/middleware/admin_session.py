"""What the API has no use for."""

from django.contrib.sessions.middleware import SessionMiddleware

from countonme.api.errors import process_exception
from countonme.db.postgresql import ask_whether_it_is_there, at_length


class AdminSession(SessionMiddleware):
    """Sessions for `/admin/`. Any other path goes past them, and past the middleware that comes after them.

    What that does once the view is known is not passed by: CSRF's check, from which the API's views are exempt.
    A page of the admin may go through a whole table, and gets the time for it.
    """

    def __init__(self, get_response):
        super().__init__(get_response)
        self.view = past_middleware(get_response)

    def __call__(self, request):
        if not request.path_info.startswith("/admin/"):
            return self.view(request)
        ask_whether_it_is_there()
        with at_length():
            return super().__call__(request)

    def process_exception(self, request, exception):
        """Respond to a statement that was ended. Of Django's own views only the admin's use the database."""
        return process_exception(exception)


def past_middleware(get_response):
    """Return the handler that the middleware which comes next would call in the end."""
    while hasattr(middleware := getattr(get_response, "__wrapped__", None), "get_response"):
        get_response = middleware.get_response
    return get_response
