from django.db import migrations, transaction
from django.db.models import F, OuterRef, Subquery
from django.db.models.expressions import RawSQL

BATCH = 20  # devices in one transaction

# The weight by which the quantity was counted. On SQLite, whole numbers must become floats before they are divided.
PORTION_GRAMS = "round(grams * 1.0 / coalesce(quantity, 1), 6)"


def fill(apps, schema_editor) -> None:
    """Give each entry that has a portion the portion's name and weight, and the phones the changed rows.

    It works in short transactions, which lock no device for long, and can be run again.
    """
    Device, Portion, FoodEntry = (
        apps.get_model(*name)
        for name in (("devices", "Device"), ("products", "Portion"), ("food_entries", "FoodEntry"))
    )
    ids = list(Device.objects.order_by("pk").values_list("pk", flat=True))
    portion = Portion.objects.filter(device=OuterRef("device"), pk=OuterRef("portion"))
    device = Device.objects.filter(pk=OuterRef("device"))
    for start in range(0, len(ids), BATCH):
        with transaction.atomic():
            entries = FoodEntry.objects.filter(
                device__in=ids[start : start + BATCH], portion__isnull=False, portion_grams=None
            )
            devices = Device.objects.filter(pk__in=list(entries.order_by().values_list("device", flat=True).distinct()))
            if devices.update(revision=F("revision") + 1):  # this also locks them, as a change set does
                entries.update(
                    portion_name=Subquery(portion.values("name")),
                    portion_grams=RawSQL(PORTION_GRAMS, []),  # noqa: S611 - a constant
                    revision=Subquery(device.values("revision")),
                )


class Migration(migrations.Migration):
    atomic = False

    dependencies = [
        ("devices", "0003_purge_and_restore"),
        ("products", "0004_one_key_to_the_product"),
        ("food_entries", "0011_portion_snapshot"),
    ]

    operations = [migrations.RunPython(fill, migrations.RunPython.noop)]
