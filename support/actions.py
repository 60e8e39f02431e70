"""Actions of support on a row: a page that asks for a reason, one transaction, and an entry in the audit log."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from django import forms
from django.contrib import messages
from django.contrib.admin.utils import unquote
from django.contrib.admin.widgets import AdminTextareaWidget
from django.core.exceptions import ObjectDoesNotExist, PermissionDenied
from django.db import IntegrityError, models, transaction
from django.http import HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path
from rest_framework.exceptions import APIException, Throttled

from countonme.api.errors import Conflict, InvalidToken, conflict_of
from ownership.quotas import QuotaReached
from support.audit import OPENED, AuditedAdmin
from support.masking import mask_secrets

GONE = (InvalidToken, ObjectDoesNotExist)  # the row or its device does not exist any more
REFUSALS = (*GONE, Conflict, IntegrityError, QuotaReached, Throttled)


@dataclass(frozen=True)
class SupportAction:
    name: str  # in the URL of its page
    label: str  # text of its button
    description: str  # description on its page
    logged_as: str  # in the audit log, and the message after it
    permission: str  # with placeholders: {app} and {model}
    run: Callable[[models.Model], str | None]  # may return a secret
    possible: Callable[[models.Model], bool]  # whether to show the button; `run` checks again


class ReasonField(forms.CharField):
    """The reason for an action, for the audit log. Tokens in it are masked."""

    def __init__(self):
        super().__init__(
            label="Reason",
            max_length=500,
            widget=AdminTextareaWidget({"rows": 3}),
            help_text="Who asked for this, and why? The audit log stores your answer and your name. Don't write the "
            "name of a food, a token, or the id of another device.",
        )

    def clean(self, value) -> str:
        return mask_secrets(super().clean(value))


class ActionForm(forms.Form):
    required_css_class = "required"

    reason = ReasonField()


@dataclass
class Refusal:
    """Why an action or a correction was refused, for the page, with links to the rows in the way."""

    message: str
    links: list[tuple[str, str]] = field(default_factory=list)  # the text and the address of each


class SupportActionAdmin(AuditedAdmin):
    """An admin with actions on a single row. Each has a permission and needs a reason."""

    support_actions: tuple[SupportAction, ...] = ()
    change_form_template = "support/change_form.html"

    def get_urls(self) -> list:
        return [
            *(
                path(
                    f"<path:object_id>/{act.name}/",
                    self.admin_site.admin_view(self.view_of(act)),
                    name=f"{self.label}_{act.name}",
                )
                for act in self.support_actions
            ),
            *super().get_urls(),
        ]

    def is_permitted(self, request, act: SupportAction) -> bool:
        return request.user.has_perm(act.permission.format(app=self.opts.app_label, model=self.opts.model_name))

    def view_of(self, act: SupportAction) -> Callable[..., HttpResponse]:
        return partial(self.act_view, act=act)

    def change_view(self, request, object_id, form_url="", extra_context=None) -> HttpResponse:
        """Show the page of a row and record that in the audit log, also after a refused correction."""
        response = super().change_view(request, object_id, form_url, extra_context)
        row = (getattr(response, "context_data", None) or {}).get("original")
        if row is None or self.record_reading([self.entry(request, row, OPENED)]):
            return response
        return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)

    def render_change_form(self, request, context, *args, **kwargs) -> HttpResponse:
        row = context["original"]
        context["list_address"] = self.list_address(request, row)
        context["acts"] = [
            (act.label, self.address(request, row, act.name))
            for act in self.support_actions
            if self.is_permitted(request, act) and act.possible(row)
        ]
        return super().render_change_form(request, context, *args, **kwargs)

    def act_view(self, request, object_id: str, act: SupportAction) -> HttpResponse:
        """Ask for a reason, then run the action. A refusal is shown on the same page, and changes nothing."""
        if not (self.is_permitted(request, act) and self.has_view_permission(request)):
            raise PermissionDenied
        row = self.get_object(request, unquote(object_id))
        if row is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)
        form, refusal = self.act_form(request.POST or None, row), None
        if request.method == "POST" and form.is_valid():
            try:
                secret = self.perform(request, row, act, form.cleaned_data)
            except REFUSALS as error:
                row = self.get_object(request, row.pk)
                if row is None or isinstance(error, GONE):
                    return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)
                refusal = self.refusal_of(row, error)
                form = self.act_form(None, row, reason=form.cleaned_data["reason"])
            else:
                return self.respond(request, row, act, secret)
        return self.act_page(request, row, act, "support/act.html", form=form, refusal=refusal)

    def refusal_of(self, row: models.Model, error: Exception) -> Refusal:
        """Return the refusal that an error stands for. Raise an IntegrityError again that is not a conflict."""
        conflict = conflict_of(error) if isinstance(error, IntegrityError) else error
        if conflict is None:
            raise error
        return Refusal(str(conflict.detail), self.links_to_conflicts(row, conflict))

    def links_to_conflicts(self, row: models.Model, error: APIException) -> list[tuple[str, str]]:
        return []

    def act_form(self, sent, row: models.Model, **initial) -> forms.Form:
        return ActionForm(sent, initial=initial)

    def perform(self, request, row: models.Model, act: SupportAction, sent: dict) -> str | None:
        with transaction.atomic():
            secret = act.run(row)
            self.record(request, row, act.logged_as, sent["reason"])
            return secret

    def respond(self, request, row: models.Model, act: SupportAction, secret: str | None) -> HttpResponse:
        """Redirect after an action. An admin with actions that return a secret overrides this."""
        self.message_user(request, f"{act.logged_as}.", messages.SUCCESS)
        return HttpResponseRedirect(self.address(request, row))

    def act_page(self, request, row: models.Model, act: SupportAction, template: str, **context) -> HttpResponse:
        context |= {
            "title": act.label,
            "subtitle": self.title_of(row),
            "row_title": self.title_of(row),
            "act": act,
            "opts": self.opts,
            "original": row,
            "media": self.media,
            "address": self.address(request, row),
            "list_address": self.list_address(request, row),
        }
        return TemplateResponse(request, template, context | self.admin_site.each_context(request))
