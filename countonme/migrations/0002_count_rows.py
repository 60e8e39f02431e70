"""Count the rows that devices have stored: the quotas go by these counters."""

from django.db import migrations, transaction
from django.db.models import Count

MODELS = [("products", "Product"), ("products", "Portion"), ("food_entries", "FoodEntry")]
BATCH = 20  # devices in one transaction


def count_rows(apps, schema_editor) -> None:
    """Write the counters of all devices, in short transactions that lock no device for long."""
    Device = apps.get_model("devices", "Device")
    ids = list(Device.objects.order_by("pk").values_list("pk", flat=True))
    for start in range(0, len(ids), BATCH):
        with transaction.atomic():
            devices = list(Device.objects.filter(pk__in=ids[start : start + BATCH]).select_for_update())
            for model in (apps.get_model(*name) for name in MODELS):
                rows = model._base_manager.filter(device__in=devices).order_by().values("device")
                counted = dict(rows.annotate(rows=Count("pk")).values_list("device", "rows"))
                for device in devices:
                    device.row_counts[model._meta.db_table] = counted.get(device.pk, 0)
            Device.objects.bulk_update(devices, ["row_counts"])


class Migration(migrations.Migration):
    atomic = False

    dependencies = [
        ("countonme", "0001_support_group"),
        ("devices", "0005_row_counts"),
        ("products", "0004_one_key_to_the_product"),
        ("food_entries", "0006_no_index_by_day_alone"),
    ]

    operations = [migrations.RunPython(count_rows, migrations.RunPython.noop, elidable=True)]
