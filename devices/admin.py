from operator import methodcaller

from django.contrib import admin
from django.urls import reverse
from django.utils.html import format_html_join

from devices.acts import Act, ActsAdmin
from devices.models import Device
from devices.owned import owned_models
from devices.owned_admin import FoundById

BLOCK = Act(
    name="block",
    label="Block",
    explained="Its token is refused from the next request on, as an unknown one is. What it keeps stays as it is.",
    done="Blocked.",
    permission="devices.block_device",
    run=methodcaller("block"),
    possible=lambda device: device.blocked_at is None and device.deleted_at is None,
)
UNBLOCK = Act(
    name="unblock",
    label="Unblock",
    explained="Its token is taken again.",
    done="Unblocked.",
    permission="devices.block_device",
    run=methodcaller("unblock"),
    possible=lambda device: device.blocked_at is not None and device.deleted_at is None,
)
NEW_TOKEN = Act(
    name="new-token",
    label="New token",
    explained="For a phone that has lost its own. The one that it had is refused from then on, and the new one is "
    "shown once: have the person with you.",
    done="Got a new token.",
    permission="devices.issue_token",
    run=methodcaller("issue_token"),
    possible=lambda device: device.deleted_at is None,
)


@admin.register(Device)
class DeviceAdmin(ActsAdmin, FoundById):
    acts = (BLOCK, UNBLOCK, NEW_TOKEN)
    list_display = ("id", "created_at", "last_seen_at", "revision", "blocked_at", "deleted_at")
    fields = readonly_fields = ("id", "created_at", "last_seen_at", "revision", "blocked_at", "deleted_at", "rows")

    def has_change_permission(self, request, obj=None) -> bool:
        return False

    @admin.display(description="What it keeps")
    def rows(self, device: Device) -> str:
        """Link to the device's rows of each kind, with how many are live and how many deleted."""
        return format_html_join(
            "", '<p><a href="{}?device__id__exact={}">{}: {} live, {} deleted</a></p>', self.counted(device)
        )

    def counted(self, device: Device):
        for model in owned_models():
            rows = model.all_objects.for_device(device)
            live = rows.filter(deleted_at=None).count()
            address = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
            name = model._meta.verbose_name_plural.capitalize()
            yield address, device.pk, name, live, rows.count() - live
