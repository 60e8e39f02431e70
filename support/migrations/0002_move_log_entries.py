"""Move the entries of Django's admin log to the audit log, without the text of the rows, which names foods."""

import json
from uuid import UUID

from django.db import migrations

BATCH = 500
ROWS = {("products", "product"), ("products", "portion"), ("food_entries", "foodentry")}
STAFF = {("auth", "user"), ("auth", "group")}
ADDITION, DELETION = 1, 3


def move(apps, schema_editor) -> None:
    """Move the entries in the order of their time. An entry about a row that is gone would never be erased: drop it."""
    LogEntry = apps.get_model("admin", "LogEntry")
    AuditEntry = apps.get_model("support", "AuditEntry")
    while batch := list(LogEntry.objects.select_related("user", "content_type").order_by("action_time", "pk")[:BATCH]):
        devices = devices_of(apps, batch)
        kept = [entry for entry in batch if kind_of(entry) in STAFF or place_of(entry) in devices]
        AuditEntry.objects.bulk_create(
            AuditEntry(
                at=entry.action_time,
                user_id=entry.user_id,
                user_name=entry.user.username,
                kind=".".join(kind_of(entry)),
                object_id=entry.object_id,
                device_id=devices.get(place_of(entry)),
                **act_and_reason(entry),
            )
            for entry in kept
        )
        LogEntry.objects.filter(pk__in=[entry.pk for entry in batch]).delete()


def kind_of(entry) -> tuple[str, str] | None:
    return (entry.content_type.app_label, entry.content_type.model) if entry.content_type else None


def place_of(entry) -> tuple:
    """Return the model and the id of the row that an entry is about."""
    return kind_of(entry), uuid(entry.object_id)


def uuid(text: str | None) -> UUID | None:
    try:
        return UUID(text or "")
    except ValueError:
        return None


def devices_of(apps, entries) -> dict[tuple, UUID]:
    """Return the id of the device for each model and id of a row that still exists."""
    devices = {}
    for kind in {("devices", "device"), *ROWS}:
        ids = {uuid(entry.object_id) for entry in entries if kind_of(entry) == kind} - {None}
        device = "pk" if kind == ("devices", "device") else "device_id"
        rows = apps.get_model(*kind)._base_manager.filter(pk__in=ids).values_list("pk", device)
        devices |= {(kind, pk): device_id for pk, device_id in rows}
    return devices


def act_and_reason(entry) -> dict[str, str]:
    message = entry.change_message
    if entry.action_flag == ADDITION:
        act, reason = "Added", ""
    elif entry.action_flag == DELETION:
        act, reason = "Deleted", ""
    elif message.startswith("["):  # Django's own words, which name no value but what "object" says
        act, reason = f"Changed {', '.join(fields_of(message)) or 'nothing'}", ""
    else:  # ours: "Corrected name. The reason"
        act, _, reason = message.partition(". ")
    return {"act": act.removesuffix(".")[:255], "reason": reason[:500]}


def fields_of(message: str) -> list[str]:
    try:
        parts = json.loads(message)
    except ValueError:
        return []
    return [str(name).lower() for part in parts for name in part.get("changed", {}).get("fields", ())]


class Migration(migrations.Migration):
    dependencies = [
        ("support", "0001_audit_log"),
        ("admin", "0003_logentry_add_action_flag_choices"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
        ("devices", "0005_row_counts"),
        ("food_entries", "0006_no_index_by_day_alone"),
        ("products", "0004_one_key_to_the_product"),
    ]

    operations = [migrations.RunPython(move, migrations.RunPython.noop, elidable=True)]
