import re
import secrets
from base64 import b32encode
from datetime import timedelta
from hashlib import sha256

from django.conf import settings
from django.db import models
from django.utils import timezone
from django.utils.crypto import salted_hmac
from django_otp.plugins.otp_totp.models import TOTPDevice

RECOVERY_CODES = 10  # for each account

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
        self.filter(at__lt=timezone.now() - VALUES_KEPT).delete()


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


class Authenticator(TOTPDevice):
    """The authenticator app of a member of staff. An account has one at most.

    `key` is random, and not the secret: the secret is computed from it and SECRET_KEY. So nobody can compute codes from
    a copy of the database.
    """

    class Meta:
        proxy = True
        default_permissions = ()

    @property
    def bin_key(self) -> bytes:
        """Return the secret, from which django-otp computes the codes."""
        return salted_hmac("support.authenticator", self.key, algorithm="sha256").digest()[:20]

    @property
    def secret_text(self) -> str:
        """Return the secret as apps accept it, if it is typed."""
        return b32encode(self.bin_key).decode()


class RecoveryCodeManager(models.Manager):
    def replace(self, user) -> list[str]:
        """Return new recovery codes of the user. The old ones no longer work."""
        codes = [b32encode(secrets.token_bytes(10)).decode().lower() for _ in range(RECOVERY_CODES)]
        self.filter(user=user).delete()
        self.bulk_create([RecoveryCode(user=user, digest=digest_of(code)) for code in codes])
        return ["-".join(re.findall("....", code)) for code in codes]

    def use(self, user, code: str) -> bool:
        """Remove a recovery code, without hyphens. Return whether the user had it."""
        return bool(self.filter(user=user, digest=digest_of(code)).delete()[0])


class RecoveryCode(models.Model):
    """A code that a member of staff can use once instead of a code of the authenticator app."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="recovery_codes")
    digest = models.CharField(
        max_length=64, help_text="SHA-256 of the code. A code has 80 random bits, so it needs no slow hash."
    )

    objects = RecoveryCodeManager()

    class Meta:
        db_table = "recovery_codes"
        default_permissions = ()

    def __str__(self) -> str:
        return f"recovery code {self.pk}"


def digest_of(code: str) -> str:
    return sha256(code.encode()).hexdigest()
