import re
from importlib import import_module
from uuid import uuid4

import pytest
from django.apps import apps
from django.contrib.auth.management import _get_all_permissions, create_permissions
from django.contrib.auth.models import Group, Permission, User
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from food_entries.tests.factories import FoodEntryFactory
from ownership.models import owned_models

MAY = {
    *("devices.view_device", "devices.block_device", "devices.issue_token"),
    *("catalog.view_catalogfood", "catalog.view_catalogrelease"),
} | {
    f"{model._meta.app_label}.{action}_{model._meta.model_name}"
    for model in owned_models()
    for action in ("view", "change")
}


@pytest.fixture
def member(support) -> User:
    return User.objects.get()


class TestTheSupportGroup:
    def test_has_these_permissions_only(self, member):
        assert member.get_all_permissions() == MAY
        assert not member.is_superuser

    def test_has_the_permissions_that_django_creates(self, member):
        permissions = Permission.objects.filter(group__name="Support").select_related("content_type")

        for permission in permissions:
            model = permission.content_type.model_class()
            assert (permission.codename, permission.name) in _get_all_permissions(model._meta)
        for app in apps.get_app_configs():
            create_permissions(app, verbosity=0)
        assert Permission.objects.filter(codename__in=[p.codename for p in permissions]).count() == len(MAY)

    def test_is_created_once(self, support_group):
        before = list(Group.objects.values_list("pk", "permissions"))

        import_module("countonme.migrations.0001_support_group").make_group(apps)

        assert len(before) == len(MAY)
        assert list(Group.objects.values_list("pk", "permissions")) == before

    def test_sees_these_models_on_the_index(self, support):
        page = support.get("/admin/").content.decode()

        assert set(re.findall(r'<tr class="model-(\w+)', page)) == {"device", "catalogfood", "catalogrelease"} | {
            model._meta.model_name for model in owned_models()
        }

    @pytest.mark.parametrize(
        "address",
        [
            "auth/user/",
            "auth/user/add/",
            "auth/group/",
            "auth/group/1/change/",
            "devices/device/add/",
            "devices/device/{device}/delete/",
            "catalog/catalogfood/add/",
            "catalog/catalogrelease/add/",
            "products/product/add/",
            "products/product/{product}/delete/",
            "food_entries/foodentry/add/",
            "food_entries/foodentry/{entry}/delete/",
        ],
    )
    def test_gets_403_on_all_other_pages(self, support, device, address):
        entry = FoodEntryFactory(device=device)
        address = address.format(device=device.pk, product=entry.product_id, entry=entry.pk)

        for answer in (support.get(f"/admin/{address}"), support.post(f"/admin/{address}", {"post": "yes"})):
            assert answer.status_code == 403

    def test_needs_staff_status(self, support, member, device):
        User.objects.update(is_staff=False)

        assert support.get(f"/admin/devices/device/{device.pk}/change/").status_code == 302
        assert support.post(f"/admin/devices/device/{uuid4()}/block/", {"reason": "x"}).status_code == 302


@pytest.mark.django_db(transaction=True)
class TestTheMigration:
    def test_can_be_reversed_and_applied_again(self, db):
        call_command("migrate", "countonme", "zero", verbosity=0)
        without = Group.objects.exists()
        call_command("migrate", verbosity=0)

        assert not without
        assert Group.objects.get().permissions.count() == len(MAY)
        assert not MigrationExecutor(connection).migration_plan(MigrationExecutor(connection).loader.graph.leaf_nodes())
