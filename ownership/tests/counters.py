from devices.models import Device
from ownership.models import owned_models


def counters(device) -> dict[str, int]:
    """Return how many rows the device has in each table, as its quota counts them."""
    stored = Device.objects.get(pk=device.pk).row_counts
    return {model._meta.db_table: stored.get(model._meta.db_table, 0) for model in owned_models()}


def counted(device) -> dict[str, int]:
    """Return how many rows the device has in each table, deleted ones included."""
    return {model._meta.db_table: model.all_objects.for_device(device).count() for model in owned_models()}
