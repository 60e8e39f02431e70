"""No page of the admin and no error page shows a token, a secret or a hash of one."""

import logging
from collections.abc import Iterator

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from catalog.tests import import_foods, make_food
from devices.models import Device
from food_entries.tests.factories import FoodEntryFactory
from ownership.models import change_set
from support.actions import SupportActionAdmin
from tests.harness.sync import revision

STATES = ("live", "blocked")


@pytest.fixture(autouse=True)
def _catalog(db):
    import_foods(make_food("Nutella"))


@pytest.fixture
def root(db) -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    return client


@pytest.fixture(params=STATES)
def secrets(request, api, device) -> list[str]:
    """Return the secrets and hashes of a device that has rows and a rotated token."""
    entry = FoodEntryFactory(device=device)
    with change_set(device):
        entry.soft_delete()
        entry.product.soft_delete()
    rotated = api.post("/v1/auth/rotate").json()["token"]
    assert revision(api) > 1
    if request.param == "blocked":
        device.block()
    device.refresh_from_db()
    assert device.next_token_hash
    return [*(token.partition(".")[2] for token in (api.token, rotated)), device.token_hash, device.next_token_hash]


def addresses() -> Iterator[str]:
    """Yield the address of each page of the admin, with and without a search, and of some that don't exist."""
    yield from ("/admin/", "/admin/password_change/", "/admin/nowhere/", "/admin/jsi18n/")
    for model, model_admin in admin.site._registry.items():
        page = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        yield reverse("admin:app_list", args=[model._meta.app_label])
        rows = list(model_admin.get_queryset(None))
        assert rows or model._meta.app_label in ("auth", "support")
        for row in rows:
            yield reverse(f"{page}_changelist") + f"?q={row.pk}"
            yield reverse(f"{page}_changelist") + f"?device__id__exact={getattr(row, 'device_id', '')}"
            pages = [reverse(f"{page}_{name}", args=[row.pk]) for name in ("change", "history", "delete")]
            yield from pages
            if isinstance(model_admin, SupportActionAdmin):
                yield from (pages[0].replace("/change/", f"/{act.name}/") for act in model_admin.support_actions)
        for lookup in ("", "?token_hash__startswith=$2b$", "?o=1.2.3", "?p=x", "?all=", "?e=1", "?q=%00"):
            yield reverse(f"{page}_changelist") + lookup


class TestNoPage:
    def test_shows_a_secret(self, root, support, secrets, caplog):
        caplog.set_level(logging.DEBUG)
        seen = set()

        for address in set(addresses()):
            for client in (root, support):
                answers = [client.get(address)]
                if "/auth/" not in address:  # not there: it would delete the logged-in user
                    answers.append(client.post(address, {"seen": "x"}))
                for response in answers:
                    page = response.content.decode() + str(response.headers)
                    assert response.status_code < 500
                    assert not [secret for secret in (*secrets, "$2b$1", "$2b$0") if secret in page], address
                    seen.add(response.status_code)

        assert {200, 302, 400, 403, 404} <= seen
        assert not [secret for secret in secrets if secret in caplog.text]

    def test_shows_a_secret_after_a_token_was_issued(self, root, support, api, device, caplog):
        FoodEntryFactory(device=device)
        caplog.set_level(logging.DEBUG)
        page = f"/admin/devices/device/{device.pk}/new-token/"

        refused = support.post(page, {"reason": ""})
        shown = support.post(page, {"reason": f"He has lost {api.token}."}, follow=True)
        after = [client.get(address).content.decode() for client in (root, support) for address in set(addresses())]

        device = Device.objects.get()
        assert device.token_hash not in shown.content.decode() + refused.content.decode()
        for secret in (api.token.partition(".")[2], device.token_hash):
            assert secret not in "".join(after) + caplog.text
        assert "He has lost [token]." in "".join(after)
