"""Middleware for sessions, CSRF, authentication, second factors and messages, which runs only under `/admin/`."""

import json
from http import HTTPStatus

from django.contrib import admin
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.messages.middleware import MessageMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.middleware.csrf import CsrfViewMiddleware
from django.template.loader import render_to_string
from django_otp.middleware import OTPMiddleware

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


class AdminSecondFactor(AdminOnly, OTPMiddleware):
    """Sets `request.user.otp_device` to the authenticator with which the session was verified, or to None."""


class AdminMessages(AdminOnly, MessageMiddleware):
    pass


class AdminErrorPages:
    """Turns the JSON of errors in the admin into pages that look like the admin."""

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        response = self.get_response(request)
        is_json = response.headers.get("Content-Type") == "application/json"
        if is_json and response.status_code >= 400 and request.path_info.startswith(ADMIN):
            response.content = render_error_page(request, response)
            response.headers["Content-Type"] = "text/html; charset=utf-8"
        return response


def render_error_page(request, response) -> str:
    """Return the page of an error. The page of a server error needs no database, so it doesn't show the user."""
    status = response.status_code
    detail = json.loads(response.content)["detail"]
    context = {"title": HTTPStatus(status).phrase, "detail": detail, "status": status}
    if status >= 500:
        return render_to_string("countonme/admin_error.html", context | {"site_header": admin.site.site_header})
    context |= admin.site.each_context(request)
    context["is_nav_sidebar_enabled"] = context["has_permission"]
    return render_to_string("countonme/admin_error.html", context, request)
