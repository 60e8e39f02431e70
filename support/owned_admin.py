"""Admin of the rows that a device owns. Corrections run in a change set, so that the phone receives them."""

from collections.abc import Iterable, Iterator
from copy import copy
from datetime import datetime
from operator import methodcaller
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.utils import unquote
from django.core.exceptions import BadRequest
from django.db.models import Count, Q, QuerySet, UniqueConstraint
from django.http import HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html
from django.utils.text import capfirst
from rest_framework.exceptions import APIException

from countonme.api.errors import Conflict
from countonme.api.fields import parse_uuid
from devices.models import Device
from ownership.models import DeviceOwned, change_set
from support.actions import (
    GONE,
    REFUSALS,
    ActionForm,
    ReasonField,
    SupportAction,
    SupportActionAdmin,
)
from support.audit import LISTED, OPENED, text_of
from support.changelist import LargeTableAdmin, StateFilter, has_prefix, is_long_prefix
from support.models import AuditEntry
from support.restore_selected import restore_selected

# Read-only fields that every owned row has.
SYSTEM_FIELDS = ("id", "device", "revision", "created_at", "updated_at", "deleted_at")

OF_DEVICE = "device__id__exact"

SEARCHED_WORDS = 8

ROW_CHANGED = "The row has changed since you opened it. This page shows its current state."

DELETE = SupportAction(
    name="soft-delete",
    label="Delete",
    description="The phone removes the row at its next sync. You can restore the row until it is purged.",
    logged_as="Deleted",
    permission="{app}.change_{model}",
    run=methodcaller("soft_delete"),
    possible=lambda row: row.deleted_at is None,
)
RESTORE = SupportAction(
    name="restore",
    label="Restore",
    description="The row comes back as it was. The phone receives it at its next sync.",
    logged_as="Restored",
    permission="{app}.change_{model}",
    run=methodcaller("restore"),
    possible=lambda row: row.deleted_at is not None,
)


def link_to(model: type[DeviceOwned], pk: UUID, which: str = "the") -> tuple[str, str]:
    """Return the text and the address of a link to a row. The text has no name, because only opening it is recorded."""
    address = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_change", args=[pk])
    return f"Open {which} {model._meta.verbose_name}", address


class SeenField(forms.IntegerField):
    """The revision of the row that the form shows. The form is refused if the row has another one."""

    widget = forms.HiddenInput


class RowActForm(ActionForm):
    seen = SeenField()


class OwnedForm(forms.ModelForm):
    reason = ReasonField()
    seen = SeenField()

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.initial["seen"] = self.instance.revision
        self.stored = copy(self.instance)

    @property
    def corrected_fields(self) -> list[str]:
        return [name for name in self.changed_data if name not in ("reason", "seen")]

    def clean(self) -> None:
        super().clean()
        if self.cleaned_data.get("seen") != self.instance.revision:
            raise Conflict(f"{ROW_CHANGED} Nothing was saved.")  # the session stores this message: include no input
        if not self.corrected_fields:
            raise forms.ValidationError("You have changed no value, so there is nothing to save.")

    def full_clean(self) -> None:
        """Ignore errors of values that were not changed: the stored value may be older than a rule."""
        super().full_clean()
        for name in self.errors.keys() & self.fields.keys() - {*self.changed_data, *self.declared_fields}:
            del self.errors[name]

    def validate_unique(self) -> None:
        """Check the unique constraints, and link to the row in the way. Django skips those that name other fields."""
        super().validate_unique()
        meta = self.instance._meta
        unique = [constraint for constraint in meta.constraints if isinstance(constraint, UniqueConstraint)]
        if not unique:
            return
        row = copy(self.stored)
        row.assign(**self.values())
        in_the_way = {}
        for constraint in unique:
            columns = [meta.get_field(name).attname for name in constraint.fields]
            if any(getattr(row, column) != getattr(self.stored, column) for column in columns):
                message = constraint.get_violation_error_message()
                in_the_way |= dict.fromkeys(row.find_ids_in_the_way(constraint), message)
        for pk, message in in_the_way.items():
            text, address = link_to(type(row), pk, "the other")
            self.add_error(None, format_html('{} <a href="{}">{}</a>', message, address, text))

    def values(self) -> dict:
        """Return the new values of the corrected fields."""
        return {name: self.cleaned_data[name] for name in self.corrected_fields if name in self.cleaned_data}


class OwnedStateFilter(StateFilter):
    states = {"live": ("Live", Q(deleted_at=None)), "deleted": ("Deleted", Q(deleted_at__isnull=False))}


class OwnedAdmin(SupportActionAdmin, LargeTableAdmin):
    """Admin of owned rows, deleted ones included.

    A list shows the rows of one device, by an index of the device's rows. Without a device, a list is empty unless at
    least 8 digits of an id are searched for.
    """

    form = OwnedForm
    support_actions = (DELETE, RESTORE)
    actions = (restore_selected,)
    list_filter = (OwnedStateFilter,)
    ordering = ("-revision", "id")  # newest change first, as in the index
    allowed_filters = ("state", OF_DEVICE)
    name_column: str | None = None  # the column in which a name is searched; None if rows are found by their id only
    correctable_fields: tuple[str, ...] = ()  # fields that support may correct
    displayed_fields: tuple[str, ...] = ()  # read-only fields

    def get_queryset(self, request) -> QuerySet:
        """Return the rows of all devices that are not marked for erasure."""
        return self.model.all_objects.filter(device__deleted_at=None).order_by(*self.ordering)

    def device_id_of(self, row: DeviceOwned) -> UUID:
        return row.device_id

    def list_address(self, request, row: DeviceOwned) -> str:
        """Return the address of the list that support came from, or of the list of the row's device."""
        address = super().list_address(request, row)
        return address if "?" in address else f"{address}?{OF_DEVICE}={row.device_id}"

    # --- finding -----------------------------------------------------------------------------------

    @property
    def search_help_text(self) -> str:
        by_id = (
            "Search by the id of a row or its first digits. Without a device, at least 8 digits of the id are needed."
        )
        by_name = "In the list of one device, you can also search for a part of the name, or for several."
        return f"{by_id} {by_name}" if self.name_column else by_id

    def changelist_view(self, request, extra_context=None) -> HttpResponse:
        """List rows and record that: one entry for the list of a device, or one for each row that was found by id."""
        of_device = {"is_of_a_device": True, "device_id": parse_uuid(request.GET.get(OF_DEVICE))}
        response = super().changelist_view(request, of_device | (extra_context or {}))
        changelist = (getattr(response, "context_data", None) or {}).get("cl")
        if changelist is None or self.record_reading(self.entries_of_list(request, changelist.result_list)):
            return response
        return HttpResponseRedirect(request.path)

    def entries_of_list(self, request, rows: Iterable[DeviceOwned]) -> list[AuditEntry]:
        """Return the entries that record a list: one of the device, or one for each row that was found by its id."""
        device_id = parse_uuid(request.GET.get(OF_DEVICE))
        if device_id is None:
            return [self.entry(request, row, LISTED) for row in rows]
        if Device.objects.filter(pk=device_id, deleted_at=None).exists():
            return [self.entry_of_model(request, device_id=device_id, act=LISTED)]
        return []

    def response_action(self, request, queryset) -> HttpResponse | None:
        """Run an action of the list. Ids that the list can't have sent get a 400."""
        if not all(map(parse_uuid, request.POST.getlist(ACTION_CHECKBOX_NAME))):
            raise BadRequest("A selected row has no valid id.")
        return super().response_action(request, queryset)

    def get_search_results(self, request, queryset, search_term) -> tuple[QuerySet, bool]:
        term, of_device = search_term.strip(), OF_DEVICE in request.GET
        if not of_device and not is_long_prefix(term):
            return queryset.none(), False
        if not term:
            return queryset, False
        found = has_prefix("id", term)
        if of_device and self.name_column:
            found |= self.contains_words(queryset, term)
        return queryset.filter(found), False

    def contains_words(self, rows: QuerySet, text: str) -> Q:
        """Return the condition by which one device's rows are searched: that a name contains each word of the text."""
        return Q(*(Q(**{f"{self.name_column}__icontains": word}) for word in text.split(maxsplit=SEARCHED_WORDS - 1)))

    def of_device(self, device: Device) -> str:
        """Return the device's number of rows with a link to their list, for the device's page."""
        counts = {name: Count("pk", filter=which) for name, (_, which) in OwnedStateFilter.states.items()}
        address = reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_changelist")
        return format_html(
            '<p><a href="{}?{}={}">{}: {} live, {} deleted</a></p>',
            address,
            OF_DEVICE,
            device.pk,
            capfirst(self.opts.verbose_name_plural),
            *self.model.all_objects.for_device(device).aggregate(**counts).values(),
        )

    def chart(self, device: Device) -> str:
        """Return a chart of the device's activity, for the device's page."""
        return ""

    @admin.display(description="Last change")
    def changed_at(self, row: DeviceOwned) -> datetime:
        return row.updated_at or row.created_at

    # --- one row -----------------------------------------------------------------------------------

    def get_fieldsets(self, request, obj=None) -> list:
        form_fields = ("reason", "seen") if self.has_change_permission(request, obj) else ()
        return [
            (None, {"fields": (*self.correctable_fields, *form_fields)}),
            ("Stored values", {"fields": (*self.displayed_fields, *SYSTEM_FIELDS)}),
        ]

    def get_readonly_fields(self, request, obj=None) -> tuple[str, ...]:
        return (*self.displayed_fields, *SYSTEM_FIELDS)

    def has_change_permission(self, request, obj=None) -> bool:
        return (obj is None or DELETE.possible(obj)) and super().has_change_permission(request, obj)

    # --- correcting --------------------------------------------------------------------------------

    def changeform_view(self, request, object_id=None, *args, **kwargs) -> HttpResponse:
        """Validate and save a correction in one change set, under the device's lock."""
        row = self.get_object(request, unquote(object_id)) if request.method == "POST" and object_id else None
        if row is None or not super().has_change_permission(request):
            return super().changeform_view(request, object_id, *args, **kwargs)
        try:
            with change_set(row.device):
                if self.reload(row).deleted_at is not None:
                    raise Conflict("The row has been deleted. Nothing was saved.")
                return super().changeform_view(request, object_id, *args, **kwargs)
        except GONE:
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)
        except REFUSALS as error:
            refused = copy(request)
            refused.refusal, refused.sent, refused.method = self.refusal_of(row, error), request.POST, "GET"
            return super().changeform_view(refused, object_id, *args, **kwargs)

    def render_change_form(self, request, context, *args, **kwargs) -> HttpResponse:
        """After a refusal, show the current values, why, and what was typed. The form keeps the reason."""
        if refusal := getattr(request, "refusal", None):
            row = context["original"]
            context["adminform"].form.initial["reason"] = request.sent.get("reason", "")
            form = forms.modelform_factory(self.model, self.form, fields=self.correctable_fields)
            typed = form(request.sent, instance=copy(row))
            hidden = {"seen"} if row.deleted_at else {"seen", "reason"}
            context |= {"refusal": refusal, "typed": [typed[name] for name in typed.changed_data if name not in hidden]}
        return super().render_change_form(request, context, *args, **kwargs)

    def reload(self, row: DeviceOwned) -> DeviceOwned:
        return self.model.all_objects.for_device(row.device_id).get(pk=row.pk)

    def save_model(self, request, obj, form, change) -> None:
        form.corrected = self.reload(obj)
        form.corrected.change(**form.values())

    def construct_change_message(self, request, form, formsets, add=False) -> dict[str, Any]:
        names = ", ".join(form.fields[name].label.lower() for name in form.corrected_fields)
        values = [*self.differences(form.stored, form.corrected, form)]
        return {"act": f"Corrected {names}", "reason": form.cleaned_data["reason"], "values": values}

    def differences(self, old: DeviceOwned, new: DeviceOwned, form: OwnedForm) -> Iterator[tuple[str, str, str]]:
        """Yield the label, the old and the new text of each field on the page that a correction has changed."""
        columns = {field.name: field for field in self.opts.concrete_fields}
        for name in (*self.correctable_fields, *self.displayed_fields):
            column = columns.get(name)
            if column is not None and getattr(old, column.attname) != getattr(new, column.attname):
                label = form.fields[name].label if name in form.fields else capfirst(column.verbose_name)
                yield label, text_of(getattr(old, name)), text_of(getattr(new, name))

    def response_change(self, request, obj) -> HttpResponse:
        """Show a message that doesn't name the row, because the session stores the message."""
        self.message_user(request, "Saved.", messages.SUCCESS)
        if "_continue" in request.POST:
            return HttpResponseRedirect(request.get_full_path())
        return HttpResponseRedirect(self.list_address(request, obj))

    # --- deleting and restoring --------------------------------------------------------------------

    def history_view(self, request, object_id, extra_context=None) -> HttpResponse:
        """Show the history, which names the row, and record that in the audit log."""
        response = super().history_view(request, object_id, extra_context)
        row = (getattr(response, "context_data", None) or {}).get("object")
        if row is None or self.record_reading([self.entry(request, row, OPENED)]):
            return response
        return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)

    @property
    def restore_action(self) -> SupportAction:
        return next(act for act in self.support_actions if act.name == RESTORE.name)

    def act_form(self, sent, row: DeviceOwned, **initial) -> forms.Form:
        return RowActForm(sent, initial={"seen": row.revision, **initial})

    def perform(self, request, row: DeviceOwned, act: SupportAction, sent: dict) -> None:
        with change_set(row.device):
            row = self.reload(row)
            if str(row.revision) != str(sent["seen"]) or not act.possible(row):
                raise Conflict(ROW_CHANGED, conflict=[row.pk])
            super().perform(request, row, act, sent)

    def links_to_conflicts(self, row: DeviceOwned, error: APIException) -> list[tuple[str, str]]:
        ids = getattr(error, "body", {}).get("conflict", ())
        return [link_to(type(row), pk, "the" if pk == row.pk else "the other") for pk in ids]

    def act_page(self, request, row: DeviceOwned, act: SupportAction, template: str, **context) -> HttpResponse:
        """Show the page of an action, which names the row, and record that in the audit log."""
        if not self.record_reading([self.entry(request, row, OPENED)]):
            return self._get_obj_does_not_exist_redirect(request, self.opts, row.pk)
        return super().act_page(request, row, act, template, **context)
