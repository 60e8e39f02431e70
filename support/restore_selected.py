"""The action of a list that restores the selected rows."""

from uuid import UUID

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse

from ownership.plural import pluralize
from support.actions import GONE, REFUSALS, ActionForm, Refusal

MAX_ROWS = 100  # at once


@admin.action(description="Restore the selected rows", permissions=["change"])
def restore_selected(owned_admin, request, rows: QuerySet) -> HttpResponse | None:
    """Ask for a reason, and restore the deleted ones of these rows. If some can't be restored, list them, and say why.

    Each row is restored in a transaction of its own, so that none holds the device's lock for long.
    """
    rows = rows.exclude(deleted_at=None).select_related("device")
    selected = list(rows[: MAX_ROWS + 1])
    if len(selected) > MAX_ROWS or not selected:
        text = f"Select at most {MAX_ROWS} rows." if selected else "None of these rows is deleted. Nothing was changed."
        owned_admin.message_user(request, text, messages.WARNING)
        return None
    form, refusals, restored = ActionForm(request.POST if "reason" in request.POST else None), {}, 0
    if form.is_valid():
        refusals = restore_each(owned_admin, request, selected, form.cleaned_data["reason"])
        restored = len(selected) - len(refusals)
        form = ActionForm(initial=form.cleaned_data)
        selected = list(rows.filter(pk__in=refusals))
        if not selected:
            owned_admin.message_user(request, message(restored, len(refusals)))
            return None
    if not owned_admin.record_reading(owned_admin.entries_of_list(request, selected)):
        return HttpResponseRedirect(request.path)
    context = {
        **owned_admin.admin_site.each_context(request),
        "title": "Restore the selected rows",
        "opts": owned_admin.opts,
        "media": owned_admin.media,
        "form": form,
        "description": owned_admin.restore_action.description,
        "rows": [(row, refusals.get(row.pk)) for row in selected],
        "restored": restored,
        "is_refused": bool(refusals),
        "list_address": request.get_full_path(),
    }
    return TemplateResponse(request, "support/restore_selected.html", context)


def message(restored: int, gone: int) -> str:
    """Return the message after the action. It names no row, because the session stores it."""
    text = f"{pluralize(restored, 'row')} restored."
    return f"{text} {pluralize(gone, 'row')} don't exist any more." if gone else text


def restore_each(owned_admin, request, rows: list, reason: str) -> dict[UUID, Refusal | None]:
    """Restore each row. Return why the others were not restored, by id, with None for those that don't exist."""
    refusals = {}
    for row in rows:
        try:
            seen = request.POST.get(f"seen-{row.pk}")
            owned_admin.perform(request, row, owned_admin.restore_action, {"reason": reason, "seen": seen})
        except GONE:
            refusals[row.pk] = None
        except REFUSALS as error:
            refusals[row.pk] = owned_admin.refusal_of(row, error)
    return refusals
