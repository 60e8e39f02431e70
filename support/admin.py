from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, User
from django.db import transaction
from django.db.models import Q, QuerySet
from django.http import HttpResponse
from django.utils.decorators import method_decorator
from django.views.decorators.debug import sensitive_post_parameters

from countonme.api.fields import parse_uuid
from devices.changelist import FoundById, begins, is_nearly_an_id
from support.audit import AuditedAdmin
from support.models import AuditEntry

admin.site.unregister([Group, User])


class AccountsAdmin(AuditedAdmin):
    """Users and groups. An act and its entry are stored together or not at all."""

    def changelist_view(self, request, extra_context=None) -> HttpResponse:
        with transaction.atomic():  # an action deletes the rows that were selected
            return super().changelist_view(request, extra_context)


@admin.register(Group)
class AuditedGroupAdmin(AccountsAdmin, GroupAdmin):
    pass


@admin.register(User)
class AuditedUserAdmin(AccountsAdmin, UserAdmin):
    @method_decorator(sensitive_post_parameters())
    def user_change_password(self, request, id, form_url="") -> HttpResponse:
        with transaction.atomic():
            return super().user_change_password(request, id, form_url)


@admin.register(AuditEntry)
class AuditEntryAdmin(AuditedAdmin, FoundById):
    change_form_template = "support/audit_entry.html"
    list_display = ("at", "user_name", "act", "kind", "object_id")
    list_filter = ()
    narrowed_by = ()
    ordering = ("-id",)  # the latest first
    search_help_text = "Search for the id of a row or of a device. The first 8 digits of a device's id are enough."
    fields = readonly_fields = ("at", "user_name", "user", "act", "reason", "kind", "object_id", "device")

    def get_queryset(self, request) -> QuerySet:
        """Return the entries but those about devices that are marked for erasure."""
        return super().get_queryset(request).filter(Q(device=None) | Q(device__deleted_at=None))

    def has_change_permission(self, request, obj=None) -> bool:
        return False

    def get_search_results(self, request, queryset, search_term) -> tuple[QuerySet, bool]:
        """Find entries by indexes: one begins with the kind of the row, so each kind is named."""
        term = search_term.strip()
        if not term:
            return queryset, False
        kinds = [model._meta.label_lower for model in self.admin_site._registry]
        ids = {term, str(parse_uuid(term) or term)}
        found = Q(kind__in=kinds, object_id__in=ids)
        if is_nearly_an_id(term):
            found |= begins("device_id", term)
        return queryset.filter(found), False
