"""What the audit log says, for tests of the acts."""

from support.models import AuditEntry

READS = ("Opened", "Listed")


def said() -> list[str]:
    """Return the act and the reason of each entry that is about a change, in the order in which they were stored."""
    entries = AuditEntry.objects.exclude(act__in=READS).order_by("pk")
    return [f"{entry.act}. {entry.reason}" for entry in entries]
