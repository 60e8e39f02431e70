"""Admin classes that write the audit log instead of Django's."""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.templatetags.admin_urls import add_preserved_filters
from django.contrib.admin.utils import unquote
from django.contrib.admin.views.main import PAGE_VAR
from django.core.exceptions import PermissionDenied
from django.db import IntegrityError, models, transaction
from django.forms import Script
from django.http import HttpResponse, HttpResponseRedirect
from django.urls import reverse

from support.models import AuditEntry, ChangedValues

ENTRIES_PER_PAGE = 100
OPENED, LISTED = "Opened", "Listed"

Values = Sequence[tuple[str, str, str]]  # the label, the old and the new text of each field

DATE_ERROR = "Enter a valid date in the form YYYY-MM-DD, for example 2026-02-05."


class AuditedAdmin(admin.ModelAdmin):
    """An admin that records changes in the audit log. The old and new values are stored beside it, for 90 days."""

    object_history_template = "support/object_history.html"
    formfield_overrides = {
        models.DateField: {"error_messages": {"invalid": DATE_ERROR}},
        models.DateTimeField: {"error_messages": {"invalid_date": DATE_ERROR}},
    }

    class Media:
        css = {"all": ["support/admin.css"]}
        js = [Script("support/lists.js", defer=True)]

    def to_field_allowed(self, request, to_field) -> bool:
        """Return whether rows may be looked up by this field. Only the id is allowed."""
        return to_field == self.opts.pk.name

    def device_id_of(self, row: models.Model) -> Any:
        """Return the id of the device that owns the row, or None."""
        return None

    def title_of(self, row: models.Model) -> str:
        """Return the row's name in titles."""
        return str(row)

    def entry(self, request, row: models.Model, act: str, reason: str = "") -> AuditEntry:
        """Return an unsaved entry about a row."""
        return self.entry_of_model(
            request, object_id=str(row.pk), device_id=self.device_id_of(row), act=act, reason=reason
        )

    def entry_of_model(self, request, **values) -> AuditEntry:
        user = request.user
        return AuditEntry(user=user, user_name=user.get_username(), kind=self.opts.label_lower, **values)

    def record(self, request, row: models.Model, act: str, reason: str = "", values: Values = ()) -> AuditEntry:
        entry = self.entry(request, row, act, reason)
        entry.save()
        if values:
            ChangedValues.objects.create(entry=entry, values=values)
        return entry

    def record_reading(self, entries: list[AuditEntry]) -> bool:
        """Store entries before a page is shown. Return False if a device has been erased in the meantime."""
        if not entries:
            return True
        try:
            with transaction.atomic():
                AuditEntry.objects.bulk_create(entries)
        except IntegrityError:
            return False
        return True

    def _get_obj_does_not_exist_redirect(self, request, opts, object_id) -> HttpResponse:
        """Redirect to the index with a message. Unlike Django's, it has no id, because the session stores it."""
        self.message_user(request, f"This {opts.verbose_name} doesn't exist.", messages.WARNING)
        return HttpResponseRedirect(reverse("admin:index", current_app=self.admin_site.name))

    # --- addresses ---------------------------------------------------------------------------------

    def address(self, request, row: models.Model, page: str = "change") -> str:
        """Return the address of a page of the row, with the filters of the list that support came from."""
        return self.with_filters(request, reverse(f"admin:{self.label}_{page}", args=[row.pk]))

    def list_address(self, request, row: models.Model) -> str:
        """Return the address of the list that support came from, with its filters."""
        return self.with_filters(request, reverse(f"admin:{self.label}_changelist"))

    def with_filters(self, request, address: str) -> str:
        preserved = {"opts": self.opts, "preserved_filters": self.get_preserved_filters(request)}
        return add_preserved_filters(preserved, address)

    @property
    def label(self) -> str:
        return f"{self.opts.app_label}_{self.opts.model_name}"

    # --- Django's hooks ------------------------------------------------------------------------------

    def construct_change_message(self, request, form, formsets, add=False) -> dict[str, Any]:
        """Return keyword arguments for `record()`, which `log_change` gets as its message."""
        names = ", ".join(changed_fields(form)) or "nothing"
        return {"act": f"Changed {names}", "values": () if add else changed_values(form)}

    def log_addition(self, request, obj, message) -> AuditEntry:
        return self.record(request, obj, "Added")

    def log_change(self, request, obj, message) -> AuditEntry:
        return self.record(request, obj, **message)

    def log_deletions(self, request, queryset) -> list[AuditEntry]:
        return AuditEntry.objects.bulk_create([self.entry(request, row, "Deleted") for row in queryset])

    def history_view(self, request, object_id, extra_context=None) -> HttpResponse:
        """Show the audit log's entries about the row, newest first."""
        if not self.has_view_or_change_permission(request):  # before the row is read
            raise PermissionDenied
        row = self.get_object(request, unquote(object_id))
        if row is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)
        entries = AuditEntry.objects.filter(kind=self.opts.label_lower, object_id=str(row.pk)).order_by("-pk")
        entries = entries.select_related("changed")
        if only_changes := "changes" in request.GET:
            entries = entries.exclude(act__in=(OPENED, LISTED))
        paginator = self.get_paginator(request, entries, ENTRIES_PER_PAGE)
        page = paginator.get_page(request.GET.get(PAGE_VAR, 1))
        page.object_list = list(page.object_list)  # before an entry about this page is stored
        context = {
            "title": f"History: {self.title_of(row)}",
            "row_title": self.title_of(row),
            "address": self.address(request, row),
            "list_address": self.list_address(request, row),
            "only_changes": only_changes,
            "action_list": page,
            "page_range": paginator.get_elided_page_range(page.number),
            "pagination_required": paginator.num_pages > 1,
        }
        return super().history_view(request, object_id, context | (extra_context or {}))


def changed_fields(form) -> list[str]:
    """Return the labels of the fields that a form changes."""
    names = form.changed_data
    return [str(form.fields[name].label or name).lower() if name in form.fields else name for name in names]


def changed_values(form) -> Values:
    """Return the old and new values of the fields that a form changes, without passwords."""
    names = [name for name in form.changed_data if name in form.fields and "password" not in name]
    return [
        (str(form.fields[name].label or name), text_of(form.initial.get(name)), text_of(form.cleaned_data.get(name)))
        for name in names
    ]


def text_of(value) -> str:
    """Return the text of a value in a history."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Iterable) and not isinstance(value, str):
        return ", ".join(sorted(map(str, value)))
    if isinstance(value, Decimal):
        return f"{value.normalize():f}"
    return "" if value is None else str(value)
