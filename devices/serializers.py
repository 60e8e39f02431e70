from rest_framework import serializers

from countonme.api.fields import NewIdField


class RegisterSerializer(serializers.Serializer):
    device_id = NewIdField(help_text="A UUID that the device generated.")


class TokenSerializer(serializers.Serializer):
    token = serializers.CharField(help_text="Send it as `Authorization: Bearer <token>`. Opaque to clients.")
