from functools import cache
from threading import local
from uuid import UUID

from django.db import models
from django.utils.functional import cached_property
from rest_framework import serializers
from rest_framework.fields import SkipField, empty

from countonme.api.errors import NotFound
from countonme.api.fields import AmountField, DayField, FlagField, IdField, OneOfField, TextField, WholeNumberField
from countonme.db.compiled import compiled_query, id_filter
from devices.models import Device
from ownership.models import DeviceOwned


class OwnedSerializer(serializers.ModelSerializer):
    """Checks the shape of a device-owned row. The bounds are the model's; `Meta.fields` is what a client sees."""

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
        """Look at each field alone: whether a row may stand beside the others is for the database to say."""

    def to_internal_value(self, data) -> dict:
        """Return the values of what was sent, as DRF does, in half its time. It skips optional fields that aren't sent.

        It calls no `validate_<field>`: a field here says itself what it takes.
        """
        if not isinstance(data, dict):
            return super().to_internal_value(data)  # which refuses it
        values, errors = {}, {}
        for name, field, is_optional in self.writable:
            if is_optional and name not in data:
                continue
            try:
                values[field.source] = field.run_validation(data.get(name, empty))
            except serializers.ValidationError as error:
                errors[name] = error.detail
            except SkipField:
                pass
        if errors:
            raise serializers.ValidationError(errors)
        return values

    @cached_property
    def writable(self) -> list[tuple[str, serializers.Field, bool]]:
        """The fields that are taken, and whether each may be missing."""
        fields = {name: field for name, field in self.fields.items() if not field.read_only}
        return [
            (name, field, self.partial or (not field.required and field.default is empty))
            for name, field in fields.items()
        ]

    def get_fields(self) -> dict:
        fields = super().get_fields()
        # A ModelSerializer would let PATCH change the key, which quietly inserts a second row. Whether an id is taken
        # is for the primary key to say: the automatic validator looks among the live rows alone, and too early.
        fields["id"] = IdField(
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
    """Return the values of a query or a body, for a new row or for a change of `instance`; raise ValidationError.

    Making a serializer's fields takes longer than all that they do, so each thread keeps those that are not in use.
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
    """The caller's live rows that a body names, each model's read with one query for a whole batch."""

    def __init__(self, device: Device):
        self.device = device
        self.found: dict[type[DeviceOwned], dict[UUID, DeviceOwned | None]] = {}

    def load(self, model: type[DeviceOwned], ids: set[UUID]) -> dict[UUID, DeviceOwned]:
        """Return the rows of these ids that there are."""
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
    """Return what is said of a row that a body names and that the caller does not have."""
    return f"There is no such {model._meta.verbose_name}."


class LiveRowField(IdField):
    """A row that the body names by its id, looked for among the caller's live rows and nowhere else.

    Its value is the row. On update, the id that is stored already counts as not sent, whatever became of its row.
    The rows come from the view's `live_rows`.
    """

    def __init__(self, model: type[DeviceOwned], **kwargs):
        self.model = model
        self.nowhere = no_such(model)
        super().__init__(**kwargs)

    def to_internal_value(self, data):
        row_id = super().to_internal_value(data)
        if self.parent.instance is not None and getattr(self.parent.instance, f"{self.source}_id") == row_id:
            raise SkipField
        row = self.context["view"].live_rows.get(self.model, row_id)
        if row is None:
            raise serializers.ValidationError(self.nowhere, "does_not_exist")
        return row
