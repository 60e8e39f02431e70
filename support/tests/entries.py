"""Reading the audit log in tests of actions."""

from support.models import AuditEntry

READS = ("Opened", "Listed")


def recorded_changes() -> list[str]:
    """Return the action and the reason of each entry about a change, oldest first."""
    entries = AuditEntry.objects.exclude(act__in=READS).order_by("pk")
    return [f"{entry.act}. {entry.reason}" for entry in entries]
