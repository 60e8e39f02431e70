from django.core.management.base import BaseCommand
from django.db import transaction

from devices.models import Device
from ownership.models import owned_models
from ownership.plural import pluralize


class Command(BaseCommand):
    help = (
        "Count the stored rows of each device, and repair the counters that quotas are checked against. The service "
        "can keep running: each device is locked while its rows are counted."
    )

    def handle(self, **options) -> None:
        # Fetch all ids first: on SQLite, an open cursor would prevent the devices from being locked.
        ids = list(Device.objects.active().order_by("pk").values_list("pk", flat=True))
        repaired = sum(map(recount, ids))
        self.stdout.write(f"Repaired the counters of {pluralize(repaired, 'device')}.")


def recount(device_id) -> bool:
    """Count a device's rows, including deleted ones. Return whether its counters were wrong."""
    with transaction.atomic():
        device = Device.objects.active().select_for_update().filter(pk=device_id).first()
        if device is None:  # its erasure has been requested
            return False
        counted = {model._meta.db_table: model.all_objects.for_device(device).count() for model in owned_models()}
        if counted == {table: device.row_counts.get(table, 0) for table in counted}:
            return False
        Device.objects.filter(pk=device_id).update(row_counts=counted)
        return True
