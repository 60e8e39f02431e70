"""The migration that moves Django's admin log to the audit log."""

import json
from datetime import UTC, datetime, timedelta
from importlib import import_module
from uuid import uuid4

import pytest
from django.apps import apps
from django.contrib.admin.models import ADDITION, CHANGE, DELETION, LogEntry
from django.contrib.auth.models import Group, User
from django.contrib.contenttypes.models import ContentType
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from devices.models import Device
from food_entries.tests.factories import FoodEntryFactory
from products.models import Product
from support.models import AuditEntry

migration = import_module("support.migrations.0002_move_log_entries")

FOOD = "Chicken soup"
AT = datetime(2026, 1, 5, 7, 30, tzinfo=UTC)


@pytest.fixture
def ada(db) -> User:
    return User.objects.create_user("ada")


@pytest.fixture
def logged(ada):
    """Return a function that stores an entry as Django does, each one a minute after the last one."""

    def log(model, pk, message: str, flag: int = CHANGE) -> None:
        LogEntry.objects.create(
            user=ada,
            action_time=AT + timedelta(minutes=LogEntry.objects.count()),
            content_type=model and ContentType.objects.get_for_model(model),
            object_id=str(pk),
            object_repr=FOOD,
            action_flag=flag,
            change_message=message,
        )

    return log


def moved() -> list[tuple]:
    migration.move(apps, None)
    return list(AuditEntry.objects.order_by("pk").values_list("kind", "object_id", "device", "act", "reason"))


class TestTheMigration:
    def test_moves_entries_about_a_device_and_its_rows(self, logged, device):
        entry = FoodEntryFactory(device=device)
        product, portion = entry.product, entry.product.portions.get()
        logged(Device, device.pk, "Got a new token. She lost it. Twice.")
        logged(Product, product.pk, "Corrected name, energy. A typo.")
        logged(type(portion), portion.pk, "Deleted. ")
        logged(type(entry), entry.pk, 'Restored. [{"changed": 1}]')

        assert moved() == [
            ("devices.device", str(device.pk), device.pk, "Got a new token", "She lost it. Twice."),
            ("products.product", str(product.pk), device.pk, "Corrected name, energy", "A typo."),
            ("products.portion", str(portion.pk), device.pk, "Deleted", ""),
            ("food_entries.foodentry", str(entry.pk), device.pk, "Restored", '[{"changed": 1}]'),
        ]
        assert list(AuditEntry.objects.order_by("pk").values_list("at", flat=True)) == [
            AT + timedelta(minutes=place) for place in range(4)
        ]
        assert set(AuditEntry.objects.values_list("user__username", "user_name")) == {("ada", "ada")}
        assert FOOD not in str(list(AuditEntry.objects.values()))
        assert not LogEntry.objects.exists()

    def test_moves_entries_about_deleted_users_and_groups(self, logged):
        logged(User, 7, json.dumps([{"added": {}}]), ADDITION)
        logged(User, 7, json.dumps([{"changed": {"fields": ["First name", "Staff status"]}}]))
        logged(User, 7, json.dumps([{"changed": {"name": "x", "object": FOOD, "fields": ["Password"]}}]))
        logged(Group, 8, "[]")
        logged(Group, 8, "[broken")
        logged(Group, 8, "", DELETION)

        assert moved() == [
            ("auth.user", "7", None, "Added", ""),
            ("auth.user", "7", None, "Changed first name, staff status", ""),
            ("auth.user", "7", None, "Changed password", ""),
            ("auth.group", "8", None, "Changed nothing", ""),
            ("auth.group", "8", None, "Changed nothing", ""),
            ("auth.group", "8", None, "Deleted", ""),
        ]
        assert not LogEntry.objects.exists()

    def test_drops_entries_about_rows_that_do_not_exist(self, logged, device):
        logged(Product, uuid4(), "Deleted. A typo.")
        logged(Device, uuid4(), "Blocked. Stolen.")
        logged(Device, "x", "Blocked. Stolen.")
        logged(Product, device.pk, "Deleted. The id of a row of another kind.")
        logged(None, device.pk, "Blocked. Stolen.")
        logged(LogEntry, 1, "Blocked. Stolen.")

        assert moved() == []
        assert not LogEntry.objects.exists()

    def test_moves_entries_in_batches(self, logged, device, monkeypatch):
        monkeypatch.setattr(migration, "BATCH", 2)
        for reason in "abcde":
            logged(Device, device.pk, f"Blocked. {reason}")

        assert [entry[-1] for entry in moved()] == list("abcde")

    @pytest.mark.django_db(transaction=True)
    def test_can_be_reversed_and_applied_again(self, logged, device):
        call_command("migrate", "support", "zero", verbosity=0)
        logged(Device, device.pk, "Blocked. Stolen.")
        call_command("migrate", verbosity=0)

        assert AuditEntry.objects.get().reason == "Stolen."
        assert not LogEntry.objects.exists()
        assert not MigrationExecutor(connection).migration_plan(MigrationExecutor(connection).loader.graph.leaf_nodes())
