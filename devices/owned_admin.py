"""Support's window on the rows that a device owns. What is mended here reaches the phone: by a change set."""

from operator import methodcaller

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.db.models import QuerySet
from django.http import HttpResponse, HttpResponseRedirect

from countonme.errors import Conflict
from countonme.fields import parse_uuid
from devices.acts import REFUSALS, Act, ActForm, ActsAdmin, ReasonField, in_words
from devices.owned import DeviceOwned, change_set


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


# What a row is, rather than what it says: read-only.
KEPT = ("id", "device", "revision", "created_at", "updated_at", "deleted_at")

CHANGED = "It has changed since you opened it, and is shown as it is now."

DELETE = Act(
    name="soft-delete",
    label="Delete",
    explained="The phone loses it with its next sync. It can be restored until deleted rows are purged.",
    done="Deleted.",
    permission="{app}.change_{model}",
    run=methodcaller("soft_delete"),
    possible=lambda row: row.deleted_at is None and row.device.deleted_at is None,
)
RESTORE = Act(
    name="restore",
    label="Restore",
    explained="It comes back as it was, and the phone gets it with its next sync.",
    done="Restored.",
    permission="{app}.change_{model}",
    run=methodcaller("restore"),
    possible=lambda row: row.deleted_at is not None and row.device.deleted_at is None,
)


class SeenField(forms.IntegerField):
    """The revision of the row that a form shows: it is about that state of the row and no other."""

    widget = forms.HiddenInput


class RowActForm(ActForm):
    seen = SeenField()


class OwnedForm(forms.ModelForm):
    reason = ReasonField()
    seen = SeenField()

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.initial["seen"] = self.instance.revision

    def _get_validation_exclusions(self) -> set[str]:
        # A field that is not in the form is left out of validation, and with it every constraint that names it.
        return super()._get_validation_exclusions() - {"device", "deleted_at"}

    @property
    def mended(self) -> list[str]:
        return [name for name in self.changed_data if name not in ("reason", "seen")]

    def clean(self) -> None:
        super().clean()
        if self.cleaned_data.get("seen") != self.instance.revision:
            typed = ", ".join(f"{self.fields[name].label.lower()} “{self.data.get(name)}”" for name in self.mended)
            raise Conflict(f"{CHANGED} Nothing was saved." + (f" You had {typed}." if typed else ""))
        if not self.mended:
            raise forms.ValidationError("It says the same as what is stored: there is nothing to save.")

    def values(self) -> dict:
        """Return what the row is to be given."""
        return {name: self.cleaned_data[name] for name in self.mended if name in self.cleaned_data}


class OwnedAdmin(ActsAdmin, FoundById):
    """A window on rows of all devices, deleted ones too."""

    form = OwnedForm
    acts = (DELETE, RESTORE)
    search_help_text = "The whole id of the row, or of its device."
    id_fields = ("id", "device")
    mended: tuple[str, ...] = ()  # what support may correct
    shown: tuple[str, ...] = ()  # what else the row says

    def get_queryset(self, request) -> QuerySet:
        return self.model.all_objects.order_by(*self.ordering)

    def get_fieldsets(self, request, obj=None) -> list:
        asked = ("reason", "seen") if self.has_change_permission(request, obj) else ()
        return [
            (None, {"fields": (*self.mended, *asked)}),
            ("As it is stored", {"fields": (*self.shown, *KEPT)}),
        ]

    def get_readonly_fields(self, request, obj=None) -> tuple[str, ...]:
        return (*self.shown, *KEPT)

    def has_change_permission(self, request, obj=None) -> bool:
        return (obj is None or DELETE.possible(obj)) and super().has_change_permission(request, obj)

    # --- correcting --------------------------------------------------------------------------------

    def changeform_view(self, request, object_id=None, *args, **kwargs) -> HttpResponse:
        """Judge what was sent by the row as it is under the device's lock, and save it before anybody else writes."""
        row = self.get_object(request, unquote(object_id)) if request.method == "POST" and object_id else None
        if row is None or not super().has_change_permission(request):
            return super().changeform_view(request, object_id, *args, **kwargs)
        try:
            with change_set(row.device):
                if self.stored(row).deleted_at is not None:
                    raise Conflict("It is deleted by now. Nothing was saved.")
                return super().changeform_view(request, object_id, *args, **kwargs)
        except REFUSALS as error:
            self.message_user(request, in_words(error), messages.ERROR)
            return HttpResponseRedirect(request.path)

    def stored(self, row: DeviceOwned) -> DeviceOwned:
        return self.model.all_objects.for_device(row.device_id).get(pk=row.pk)

    def save_model(self, request, obj, form, change) -> None:
        self.stored(obj).change(**form.values())

    def construct_change_message(self, request, form, formsets, add=False) -> str:
        names = ", ".join(form.fields[name].label.lower() for name in form.mended)
        return f"Corrected {names}. {form.cleaned_data['reason']}"

    # --- deleting and restoring --------------------------------------------------------------------

    def act_form(self, sent, row: DeviceOwned, **initial) -> forms.Form:
        return RowActForm(sent, initial={"seen": row.revision, **initial})

    def perform(self, request, row: DeviceOwned, act: Act, sent: dict) -> None:
        with change_set(row.device):
            row = self.stored(row)
            if row.revision != sent["seen"] or not act.possible(row):
                raise Conflict(CHANGED)
            super().perform(request, row, act, sent)
