from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.utils import timezone
from rest_framework import serializers

from countonme.api.fields import NewIdField
from devices.models import Device, Erasure

NIGHT = timedelta(days=1)  # a nightly job makes and removes backups


class DeviceSerializer(serializers.ModelSerializer):
    class Meta:
        model = Device
        fields = ("id", "created_at", "last_seen_at")


class ErasureQuery(serializers.Serializer):
    erasure_id = NewIdField(
        required=False,
        help_text="The id of the receipt. If you choose it, you can read the receipt even if the response is lost.",
    )

    def validate_erasure_id(self, erasure_id: UUID) -> UUID:
        """Reject the device's own id, which is not secret."""
        if erasure_id == self.context["device"].pk:
            raise serializers.ValidationError("Choose a random UUID.", "invalid")
        return erasure_id


class ErasureSerializer(serializers.ModelSerializer):
    erased_at = serializers.DateTimeField(
        allow_null=True, help_text="When the last of the data was removed; null until then."
    )
    backups_expire_at = serializers.SerializerMethodField(
        help_text="When the last backup with the data is removed. This time moves on until the data itself is removed."
    )

    class Meta:
        model = Erasure
        fields = ("id", "requested_at", "erased_at", "backups_expire_at")

    def get_backups_expire_at(self, erasure: Erasure) -> datetime:
        return (erasure.erased_at or timezone.now()) + timedelta(days=settings.BACKUP_RETENTION) + NIGHT
