from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ObjectDoesNotExist
from django.db import IntegrityError
from django.db.models import QuerySet
from django.http import HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html_join

from countonme.errors import InvalidToken
from countonme.fields import parse_uuid
from devices.acts import Act, ActsAdmin
from devices.models import Device
from devices.owned import change_set, owned_models


class StateFilter(admin.SimpleListFilter):
    title = "state"
    parameter_name = "state"

    def lookups(self, request, model_admin) -> list[tuple[str, str]]:
        return [("live", "Live"), ("deleted", "Deleted")]

    def queryset(self, request, queryset) -> QuerySet:
        return queryset if self.value() is None else queryset.filter(deleted_at__isnull=self.value() == "live")


class FoundById(admin.ModelAdmin):
    """A window on a table that may be large: found by a whole id, never counted whole."""

    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    list_filter = (StateFilter,)
    ordering = ("-created_at", "id")
    search_fields = ("id",)
    search_help_text = "The whole id."
    id_fields = ("id",)

    def get_search_results(self, request, queryset, search_term) -> tuple[QuerySet, bool]:
        if not search_term.strip():
            return queryset, False
        sought = parse_uuid(search_term.strip())
        found = queryset.none()
        for field in self.id_fields:
            found |= queryset.filter(**{field: sought}) if sought else found
        return found, False

    def has_add_permission(self, request, obj=None) -> bool:
        return False

    def has_delete_permission(self, request, obj=None) -> bool:
        return False


BLOCK = Act(
    name="block",
    label="Block",
    explained="Its token is refused from the next request on, as an unknown one is. What it keeps stays as it is.",
    done="Blocked.",
    permission="devices.block_device",
    run=Device.block,
    possible=lambda device: device.blocked_at is None and device.deleted_at is None,
)
UNBLOCK = Act(
    name="unblock",
    label="Unblock",
    explained="Its token is taken again.",
    done="Unblocked.",
    permission="devices.block_device",
    run=Device.unblock,
    possible=lambda device: device.blocked_at is not None and device.deleted_at is None,
)
NEW_TOKEN = Act(
    name="new-token",
    label="New token",
    explained="For a phone that has lost its own. The one that it had is refused from then on, and the new one is "
    "shown once: have the person with you.",
    done="Got a new token.",
    permission="devices.issue_token",
    run=Device.issue_token,
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


# What a row is, rather than what it says: at the end of its page, read-only.
KEPT = ("id", "device", "revision", "created_at", "updated_at", "deleted_at")


class OwnedForm(forms.ModelForm):
    def _get_validation_exclusions(self) -> set[str]:
        # A field that is not in the form is left out of validation, and with it every constraint that names it.
        return super()._get_validation_exclusions() - {"device", "deleted_at"}


class OwnedAdmin(FoundById):
    """A window on rows of all devices, deleted ones too. What is mended here reaches the phone: by a change set."""

    form = OwnedForm
    search_help_text = "The whole id of the row, or of its device."
    id_fields = ("id", "device")
    mended: tuple[str, ...] = ()

    def get_queryset(self, request) -> QuerySet:
        return self.model.all_objects.order_by(*self.ordering)

    def get_readonly_fields(self, request, obj=None) -> tuple[str, ...]:
        return tuple(name for name in self.fields if name not in self.mended)

    def has_change_permission(self, request, obj=None) -> bool:
        live = obj is None or (obj.deleted_at is None and obj.device.deleted_at is None)
        return live and super().has_change_permission(request, obj)

    def changeform_view(self, request, *args, **kwargs) -> HttpResponse:
        try:
            return super().changeform_view(request, *args, **kwargs)
        except (InvalidToken, IntegrityError, ObjectDoesNotExist):
            self.message_user(request, "It has changed meanwhile: nothing was saved. Look again.", messages.ERROR)
            return HttpResponseRedirect(request.path)

    def save_model(self, request, obj, form, change) -> None:
        with change_set(obj.device):
            row = self.model.objects.for_device(obj.device).get(pk=obj.pk)
            row.change(**{name: form.cleaned_data[name] for name in form.changed_data})
