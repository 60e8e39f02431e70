from operator import methodcaller
from uuid import UUID

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.utils import timezone
from django.utils.html import format_html_join
from django.utils.text import capfirst

from countonme.observability.request_log import name_in_log
from devices.acts import Act, ActsAdmin
from devices.changelist import FoundById, StateFilter
from devices.models import Device
from devices.owned import owned_models
from devices.quotas import Quota

BLOCK = Act(
    name="block",
    label="Block",
    explained="From the next request on, every request gets 403, with the message that the device is blocked. Its data "
    "is kept.",
    done="Blocked",
    permission="devices.block_device",
    run=methodcaller("block"),
    possible=lambda device: device.blocked_at is None,
)
UNBLOCK = Act(
    name="unblock",
    label="Unblock",
    explained="Its token is taken again.",
    done="Unblocked",
    permission="devices.block_device",
    run=methodcaller("unblock"),
    possible=lambda device: device.blocked_at is not None,
)
NEW_TOKEN = Act(
    name="new-token",
    label="New token",
    explained="For a phone that has lost its own. The one that it had is refused from then on, and the new one is "
    "shown once: have the person with you.",
    done="Got a new token",
    permission="devices.issue_token",
    run=methodcaller("issue_token"),
    possible=lambda device: True,
)


class DeviceStateFilter(StateFilter):
    states = {"blocked": ("Blocked", Q(blocked_at__isnull=False))}


@admin.register(Device)
class DeviceAdmin(ActsAdmin, FoundById):
    acts = (BLOCK, UNBLOCK, NEW_TOKEN)
    list_display = ("id", "last_seen_at", "blocked_at")
    list_filter = (DeviceStateFilter,)
    fields = readonly_fields = (
        "id",
        "created_at",
        "last_seen_at",
        "revision",
        "blocked_at",
        "name_in_log",
        "rows",
        "quotas",
        "charts",
    )

    def get_queryset(self, request) -> QuerySet:
        """Return the devices that are not marked for erasure."""
        return super().get_queryset(request).filter(deleted_at=None)

    def device_id_of(self, row: Device) -> UUID:
        return row.pk

    def has_change_permission(self, request, obj=None) -> bool:
        return False

    @admin.display(description="Name in the log")
    def name_in_log(self, device: Device) -> str:
        return name_in_log(device.pk)

    @admin.display(description="What it keeps")
    def rows(self, device: Device) -> str:
        return self.of_each_kind("of_device", device)

    @admin.display(description="Quotas")
    def quotas(self, device: Device) -> str:
        """Return how many rows count, deleted ones included, and how many there may be."""
        quota = Quota.of(device, timezone.now())
        used = [
            (capfirst(model._meta.verbose_name_plural), quota.count(model), quota.limit(model))
            for model in owned_models()
        ]
        used.append(("Rows added today", quota.new_rows, quota.daily_limit))
        return format_html_join(
            "", "<p>{}: {} of {}</p>", ((name, f"{rows:,}", f"{limit:,}") for name, rows, limit in used)
        )

    @admin.display(description="The last 30 days")
    def charts(self, device: Device) -> str:
        return self.of_each_kind("chart", device)

    def of_each_kind(self, told: str, device: Device) -> str:
        """Return what the admin of each kind of row tells about the device."""
        admins = [self.admin_site.get_model_admin(model) for model in owned_models()]
        return format_html_join("", "{}", ((getattr(each, told)(device),) for each in admins))
