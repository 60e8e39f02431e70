from datetime import timedelta

from django.conf import settings
from django.db import models
from django.utils import timezone

VALUES_KEPT = timedelta(days=90)


class AuditEntry(models.Model):
    """An entry of the audit log: which member of staff did what to which row, when and why.

    It contains no value of the row and no name of a food. It replaces Django's `LogEntry`, which stores the text of the
    row, has no device, and is deleted with its user.
    """

    at = models.DateTimeField(default=timezone.now)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")
    user_name = models.CharField(max_length=150, help_text="Stays when the user is deleted.")
    kind = models.CharField(max_length=100, help_text="The model of the row, such as products.product.")
    object_id = models.CharField(max_length=64, blank=True, help_text="Empty for a list.")
    device = models.ForeignKey(
        "devices.Device", models.CASCADE, null=True, related_name="+", help_text="The device that owns the row."
    )
    act = models.CharField(max_length=255)
    reason = models.CharField(max_length=500, blank=True)

    class Meta:
        db_table = "audit_log"
        verbose_name_plural = "audit entries"
        default_permissions = ("view",)
        indexes = [
            models.Index(fields=["kind", "object_id"], name="audit_log_of_a_row"),
            models.Index(fields=["user_name", "id"], name="audit_log_of_a_user"),
        ]

    def __str__(self) -> str:
        return f"audit entry {self.pk}"


class ChangedValuesManager(models.Manager):
    def remove_old(self) -> None:
        self.filter(at__lt=timezone.now() - VALUES_KEPT)._raw_delete(self.db)


class ChangedValues(models.Model):
    """The old and new values of a change, for the history of the row. They are removed after 90 days.

    That is long before a row that was deleted later is purged, so they don't outlive it.
    """

    entry = models.OneToOneField(AuditEntry, models.CASCADE, primary_key=True, related_name="changed")
    at = models.DateTimeField(default=timezone.now, db_index=True)
    values = models.JSONField(help_text="The label, the old text and the new text of each field.")

    objects = ChangedValuesManager()

    class Meta:
        db_table = "audit_log_values"
        default_permissions = ()

    def __str__(self) -> str:
        return f"values of audit entry {self.pk}"
