"""No page of the admin is shown without a second factor, if STAFF_SECOND_FACTOR is `required`."""

import re
from collections.abc import Iterator

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import URLPattern, get_resolver, path

from devices.models import Device
from support.models import Authenticator

LOGIN, SET_UP = "/admin/login/", "/admin/second-factor/set-up/"
WITHOUT_SECOND_FACTOR = {LOGIN, SET_UP, "/admin/logout/"}
NOT_FOUND = {"/admin/autocomplete/", "/admin/r/1/1/"}


def addresses(patterns=None, prefix: str = "/") -> Iterator[str]:
    """Yield an address for each route of the admin, with ids of rows that don't exist."""
    for pattern in get_resolver().url_patterns if patterns is None else patterns:
        route = str(pattern.pattern)
        if isinstance(pattern, URLPattern):
            address = prefix + re.sub(r"<[^>]+>", "1", route) if "(?P" not in route else prefix + "products/"
            if address.startswith("/admin/"):
                yield address
        else:
            yield from addresses(pattern.url_patterns, prefix + route)


@pytest.fixture(params=["not set up", "not used"])
def browser(request, settings, db) -> Client:
    """A superuser's session that began with the password only."""
    settings.STAFF_SECOND_FACTOR = "required"
    user = User.objects.create_superuser("ada")
    if request.param == "not used":
        Authenticator.objects.create(user=user)
    browser = Client()
    browser.force_login(user)
    return browser


class TestEveryAdminPage:
    def test_leads_to_the_login(self, browser, device):
        found = {*addresses(), f"/admin/devices/device/{device.pk}/change/", "/admin/nowhere/"}
        gated = found - WITHOUT_SECOND_FACTOR - NOT_FOUND
        assert len(gated) > 40
        assert {*WITHOUT_SECOND_FACTOR, *NOT_FOUND, "/admin/jsi18n/", "/admin/password_change/"} <= found

        for address in sorted(gated):
            for response in (browser.get(address), browser.post(address, {"reason": "x"})):
                assert (response.status_code, response.url.partition("?")[0]) == (302, LOGIN), address

        assert {browser.get(address).status_code for address in NOT_FOUND} == {404}
        assert Device.objects.get().blocked_at is None

    def test_is_shown_with_the_second_factor(self, browser):
        authenticator, _ = Authenticator.objects.get_or_create(user=User.objects.get())
        session = browser.session
        session["otp_device_id"] = authenticator.persistent_id
        session.save()

        assert browser.get("/admin/").status_code == 200
        authenticator.delete()
        assert browser.get("/admin/").status_code == 302

    def test_is_found_in_the_urlconf(self):
        routes = [path("", lambda request: None), path("<path:object_id>/block/", lambda request: None)]

        assert list(addresses(routes, "/admin/x/")) == ["/admin/x/", "/admin/x/1/block/"]
