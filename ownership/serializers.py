"""Serializers of device-owned rows, `validate()`, and the look-up of rows that a request body refers to."""

from functools import cache
from threading import local
from uuid import UUID

from django.db import models
from django.utils.functional import cached_property
from rest_framework import serializers
from rest_framework.fields import SkipField, empty

from countonme.api.errors import NotFound
from countonme.api.fields import (
    AmountField,
    DayField,
    FlagField,
    IdField,
    NewIdField,
    OneOfField,
    TextField,
    WholeNumberField,
    as_json_value,
)
from countonme.db.compiled import compiled_query, id_filter
from devices.models import Device
from ownership.models import DeviceOwned


class OwnedSerializer(serializers.ModelSerializer):
    """Validates a device-owned row. The bounds come from the model. `Meta.fields` are the columns that clients see."""

    serializer_field_mapping = {
        **serializers.ModelSerializer.serializer_field_mapping,
        models.BooleanField: FlagField,
        models.CharField: TextField,
        models.DateField: DayField,
        models.DecimalField: AmountField,
        models.IntegerField: WholeNumberField,
        models.UUIDField: IdField,
    }
    serializer_choice_field = OneOfField

    def run_validators(self, value) -> None:
        """Skip DRF's cross-field validators. Uniqueness is enforced by the database."""

    def to_internal_value(self, data) -> dict:
        """Return the validated values, as DRF does, but skip optional fields that are not sent.

        It calls no `validate_<field>()` methods: each field class does its own validation. The value that is already
        stored counts as not sent. It may be invalid, because it can be older than a rule.
        """
        if not isinstance(data, dict):
            return super().to_internal_value(data)  # raises ValidationError
        values, errors = {}, {}
        for name, field, is_optional in self.writable:
            if is_optional and name not in data:
                continue
            try:
                values[field.source] = field.run_validation(data.get(name, empty))
            except serializers.ValidationError as error:
                if not self.is_stored_text(name, data.get(name)):
                    errors[name] = error.detail
            except SkipField:
                pass
        if errors:
            raise serializers.ValidationError(errors)
        return values

    def is_stored_text(self, name: str, sent) -> bool:
        return (
            self.instance is not None
            and isinstance(sent, str)
            and as_json_value(getattr(self.instance, name, None)) == sent
        )

    @cached_property
    def writable(self) -> list[tuple[str, serializers.Field, bool]]:
        """The writable fields: name, field, and whether it can be omitted."""
        fields = {name: field for name, field in self.fields.items() if not field.read_only}
        return [
            (name, field, self.partial or (not field.required and field.default is empty))
            for name, field in fields.items()
        ]

    def get_fields(self) -> dict:
        fields = super().get_fields()
        # ModelSerializer would let PATCH change the primary key, and so insert a second row. It would also add a unique
        # validator, which only sees live rows and runs before the change set: the primary key finds ids that are taken.
        fields["id"] = NewIdField(
            required=False, read_only=self.partial, help_text="Chosen by the client; generated if omitted."
        )
        return fields


def validate(
    serializer_class: type[serializers.Serializer],
    data,
    *,
    view=None,
    instance: DeviceOwned | None = None,
    partial: bool = False,
) -> dict:
    """Return the values of a query or a request body, for a new row or an update of `instance`; raise ValidationError.

    Each thread reuses its serializers, because creating their fields takes longer than validation.
    """
    idle, key = idle_serializers.__dict__, (serializer_class, partial)
    serializer = idle.pop(key, None) or serializer_class(partial=partial, context={})
    context = serializer.context
    serializer.instance = instance
    context["view"] = view
    try:
        return serializer.run_validation(data)
    finally:
        serializer.instance = context["view"] = None
        idle[key] = serializer


idle_serializers = local()


class LiveRows:
    """The live rows of one device that a request body refers to. Each model takes one query for a whole batch."""

    def __init__(self, device: Device):
        self.device = device
        self.found: dict[type[DeviceOwned], dict[UUID, DeviceOwned | None]] = {}

    def load(self, model: type[DeviceOwned], ids: set[UUID]) -> dict[UUID, DeviceOwned]:
        """Return the live rows that have these ids, by id."""
        known = self.found.setdefault(model, {})
        missing = ids - known.keys()
        if missing:
            known.update(dict.fromkeys(missing))
            rows = live_rows_query(model).models(device=self.device.pk, **id_filter("pk", missing))
            known.update((row.pk, row) for row in rows)
        return {row_id: known[row_id] for row_id in ids if known[row_id]}

    def get(self, model: type[DeviceOwned], row_id: UUID | None) -> DeviceOwned | None:
        return self.load(model, {row_id} - {None}).get(row_id)

    def get_or_404(self, model: type[DeviceOwned], row_id: UUID) -> DeviceOwned:
        row = self.get(model, row_id)
        if row is None:
            raise not_found(model)
        return row


@cache
def live_rows_query(model: type[DeviceOwned]):
    @compiled_query
    def live_rows(device, **named) -> models.QuerySet:
        return model.objects.for_device(device).filter(**named)

    return live_rows


def not_found(model: type[DeviceOwned]) -> NotFound:
    return NotFound(f"{model._meta.verbose_name.capitalize()} not found")


def no_such(model: type[DeviceOwned]) -> str:
    """Return the error message for a reference to a row that the device does not have."""
    return f"There is no such {model._meta.verbose_name}."


class LiveRowField(IdField):
    """A reference to one of the caller's live rows, by id. The validated value is the row, from the view's `live_rows`.

    On update, the id that is already stored counts as not sent, even if its row has been deleted.
    """

    def __init__(self, model: type[DeviceOwned], **kwargs):
        self.model = model
        self.not_found_message = no_such(model)
        super().__init__(**kwargs)

    def to_internal_value(self, data):
        row_id = super().to_internal_value(data)
        if self.parent.instance is not None and getattr(self.parent.instance, f"{self.source}_id") == row_id:
            raise SkipField
        row = self.context["view"].live_rows.get(self.model, row_id)
        if row is None:
            raise serializers.ValidationError(self.not_found_message, "does_not_exist")
        return row
