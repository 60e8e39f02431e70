"""The admin of devices, of users and groups, and of the audit log."""

from operator import methodcaller
from uuid import UUID

from django.apps import apps
from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, User
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Q, QuerySet
from django.http import HttpResponse, HttpResponseRedirect
from django.urls import path, reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.html import format_html, format_html_join
from django.utils.text import capfirst
from django.views.decorators.debug import sensitive_post_parameters
from django_otp.plugins.otp_totp.models import TOTPDevice

from countonme.api.errors import Conflict
from countonme.api.fields import parse_uuid
from countonme.observability.request_log import name_in_log
from devices.models import Device
from ownership.models import owned_models
from ownership.quotas import Quota
from support import shown_once
from support.actions import SupportAction, SupportActionAdmin
from support.audit import AuditedAdmin
from support.changelist import LargeTableAdmin, StateFilter, has_prefix, is_long_prefix
from support.models import AuditEntry
from support.owned_admin import OF_DEVICE
from support.qr_code import qr_code
from support.second_factor import RESET, authenticator_of, reset

BLOCK = SupportAction(
    name="block",
    label="Block",
    description="From now on, each request of the device gets a 403 with the text: This device is blocked. Contact "
    "support. Its data is kept.",
    logged_as="Blocked",
    permission="devices.block_device",
    run=methodcaller("block"),
    possible=lambda device: device.blocked_at is None,
)
UNBLOCK = SupportAction(
    name="unblock",
    label="Unblock",
    description="The device's token works again.",
    logged_as="Unblocked",
    permission="devices.block_device",
    run=methodcaller("unblock"),
    possible=lambda device: device.blocked_at is not None,
)
NEW_TOKEN = SupportAction(
    name="new-token",
    label="Issue a new token",
    description="Use this if a phone has lost its token, or if the token was stolen. The old token is refused at once. "
    "The new token is shown only once. The user scans it with the app, or types it.",
    logged_as="Got a new token",
    permission="devices.issue_token",
    run=methodcaller("issue_token"),
    possible=lambda device: True,
)

SHOWN_DIGITS = 8  # of an id in the audit log

SHOWN_BEFORE = "A new token is shown only once. If it has not reached the phone, issue another one."

RESET_SECOND_FACTOR = SupportAction(
    name="reset-second-factor",
    label="Reset the second factor",
    description="Use this if the authenticator app and the recovery codes are lost. Make sure that it is really this "
    "member of staff who asks. All sessions of the account end. After the next login with the password, a new second "
    "factor can be set up.",
    logged_as=RESET,
    permission="auth.reset_second_factor",  # nobody can be granted this, so that only superusers have it
    run=reset,
    possible=lambda user: user is not None and authenticator_of(user) is not None,
)


class DeviceStateFilter(StateFilter):
    states = {"blocked": ("Blocked", Q(blocked_at__isnull=False))}


@admin.register(Device)
class DeviceAdmin(SupportActionAdmin, LargeTableAdmin):
    support_actions = (BLOCK, UNBLOCK, NEW_TOKEN)
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

    def get_urls(self) -> list:
        token_view = self.admin_site.admin_view(self.token_view)
        return [path("<path:object_id>/token/", token_view, name="devices_device_token"), *super().get_urls()]

    def respond(self, request, row: Device, act: SupportAction, secret: str | None) -> HttpResponse:
        if secret is None:
            return super().respond(request, row, act, secret)
        address = reverse("admin:devices_device_token", args=[row.pk])
        response = HttpResponseRedirect(address)
        shown_once.store(request, response, secret, address)
        return response

    def token_view(self, request, object_id: str) -> HttpResponse:
        """Show a token that was just issued, once. Reloading the page issues no other."""
        if not self.is_permitted(request, NEW_TOKEN):
            raise PermissionDenied
        device = self.get_object(request, unquote(object_id))
        if device is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)
        token = shown_once.take(request)
        if token is None:
            self.message_user(request, SHOWN_BEFORE, messages.WARNING)
            return HttpResponseRedirect(self.address(request, device))
        return self.act_page(request, device, NEW_TOKEN, "support/token.html", token=token, qr_code=qr_code(token))

    @admin.display(description="Name in the log")
    def name_in_log(self, device: Device) -> str:
        return name_in_log(device.pk)

    @admin.display(description="Stored rows")
    def rows(self, device: Device) -> str:
        return self.join_owned("of_device", device)

    @admin.display(description="Quotas")
    def quotas(self, device: Device) -> str:
        """Return the number of rows, deleted ones included, and the limit, for each quota."""
        quota = Quota.of(device, timezone.now())
        used = [
            (capfirst(model._meta.verbose_name_plural), quota.count(model), quota.limit(model))
            for model in owned_models()
        ]
        used.append(("Rows added today", quota.new_rows, quota.daily_limit))
        return format_html_join(
            "", "<p>{}: {} of {}</p>", ((name, f"{rows:,}", f"{limit:,}") for name, rows, limit in used)
        )

    @admin.display(description="Last 30 days")
    def charts(self, device: Device) -> str:
        return self.join_owned("chart", device)

    def join_owned(self, method: str, device: Device) -> str:
        """Call a method of each OwnedAdmin with the device, and join the results."""
        admins = [self.admin_site.get_model_admin(model) for model in owned_models()]
        return format_html_join("", "{}", ((getattr(each, method)(device),) for each in admins))


admin.site.unregister([Group, User, TOTPDevice])  # django-otp's admin shows the keys


class AccountsAdmin(AuditedAdmin):
    """Admin of users and groups. A change and its audit entry are stored in one transaction."""

    def changelist_view(self, request, extra_context=None) -> HttpResponse:
        with transaction.atomic():  # the action "delete selected" writes
            return super().changelist_view(request, extra_context)


@admin.register(Group)
class AuditedGroupAdmin(AccountsAdmin, GroupAdmin):
    pass


@admin.register(User)
class AuditedUserAdmin(SupportActionAdmin, AccountsAdmin, UserAdmin):
    support_actions = (RESET_SECOND_FACTOR,)
    list_display = ("username", "first_name", "last_name", "is_staff", "is_active", "last_login")
    readonly_fields = ("last_login", "date_joined")

    def change_view(self, *args, **kwargs) -> HttpResponse:
        """Show the page of an account. Unlike the page of a device, that is not recorded."""
        return super(SupportActionAdmin, self).change_view(*args, **kwargs)

    def perform(self, request, row, act, sent) -> str | None:
        if row == request.user:
            raise Conflict("You can replace your own second factor on its page, with a code.")
        return super().perform(request, row, act, sent)

    @method_decorator(sensitive_post_parameters())
    def user_change_password(self, request, id, form_url="") -> HttpResponse:
        with transaction.atomic():
            return super().user_change_password(request, id, form_url)


@admin.register(AuditEntry)
class AuditEntryAdmin(AuditedAdmin, LargeTableAdmin):
    change_form_template = "support/read_only.html"
    list_display = ("at", "user_name", "act", "row", "reason")
    list_filter = ()
    allowed_filters = ()
    ordering = ("-id",)  # the latest first
    search_help_text = (
        "Search by the name of a user, or by the id of a row or of a device. The first 8 digits of a device's id are "
        "enough."
    )
    fields = readonly_fields = ("at", "user_name", "user", "act", "reason", "row", "kind", "object_id", "device")

    def get_queryset(self, request) -> QuerySet:
        """Return all entries except those about devices that are marked for erasure."""
        return super().get_queryset(request).filter(Q(device=None) | Q(device__deleted_at=None))

    def has_change_permission(self, request, obj=None) -> bool:
        return False

    def get_search_results(self, request, queryset, search_term) -> tuple[QuerySet, bool]:
        """Search with indexes. One starts with `kind`, so the query lists all kinds."""
        term = search_term.strip()
        if not term:
            return queryset, False
        if AuditEntry.objects.filter(user_name=term).exists():
            return queryset.filter(user_name=term), False
        kinds = [model._meta.label_lower for model in apps.get_models() if self.admin_site.is_registered(model)]
        ids = {term, str(parse_uuid(term) or term)}
        found = Q(kind__in=kinds, object_id__in=ids)
        if is_long_prefix(term):
            found |= has_prefix("device_id", term)
        return queryset.filter(found), False

    @admin.display(description="Row")
    def row(self, entry: AuditEntry) -> str:
        """Return a link to the history of the row, or to the list that was opened. It names no row."""
        model = next((each for each in apps.get_models() if each._meta.label_lower == entry.kind), None)
        if model is None or not self.admin_site.is_registered(model):
            return f"{entry.kind} {entry.object_id}"
        page = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        if entry.object_id:
            text = f"{model._meta.verbose_name} {entry.object_id[:SHOWN_DIGITS]}"
            return format_html('<a href="{}">{}</a>', reverse(f"{page}_history", args=[entry.object_id]), text)
        text = f"{model._meta.verbose_name_plural} of device {str(entry.device_id)[:SHOWN_DIGITS]}"
        address = f"{reverse(f'{page}_changelist')}?{OF_DEVICE}={entry.device_id}"
        return format_html('<a href="{}">{}</a>', address, text)
