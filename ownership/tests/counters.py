from devices.models import Device
from ownership.models import owned_models


def counters(device) -> dict[str, int]:
    """Return the counters of the device's quota: the number of rows by table."""
    stored = Device.objects.get(pk=device.pk).row_counts
    return {model._meta.db_table: stored.get(model._meta.db_table, 0) for model in owned_models()}


def counted(device) -> dict[str, int]:
    """Return the number of stored rows by table, including deleted ones."""
    return {model._meta.db_table: model.all_objects.for_device(device).count() for model in owned_models()}
