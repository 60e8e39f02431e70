from django.db import migrations

from countonme.db.migration_operations import ValidateConstraintOnPostgres
from nutrition.gtin import barcode_number, expand_upc_e, has_check_digit


def fill_barcode_keys(apps, schema_editor) -> None:
    """Store the key of each barcode. If live products of a device have the same one, only the oldest gets the key.

    Each row is updated by itself, and only if it is still as it was read: so no lock is held.
    """
    Product = apps.get_model("products", "Product")
    for device in list(apps.get_model("devices", "Device")._base_manager.values_list("pk", flat=True)):
        rows = Product._base_manager.filter(device=device).exclude(barcode=None)
        read = list(rows.order_by("created_at", "pk").values_list("pk", "barcode", "deleted_at", "barcode_key"))
        taken = {key for _, _, deleted_at, key in read if deleted_at is None and key is not None}
        for pk, barcode, deleted_at, stored in read:
            key = barcode_number(barcode)
            if stored is not None or (deleted_at is None and key in taken):
                continue
            rows.filter(pk=pk, barcode=barcode, deleted_at=deleted_at).update(barcode_key=key)
            if deleted_at is None:
                taken.add(key)


def expand_upc_es(apps, schema_editor) -> None:
    """Store barcodes that the previous release refuses in the form that it accepts."""
    rows = apps.get_model("products", "Product")._base_manager.filter(barcode__length=8, barcode__lt="2")
    for pk, device, barcode in list(rows.values_list("pk", "device", "barcode")):
        if not has_check_digit(barcode):
            rows.filter(pk=pk, device=device, barcode=barcode).update(barcode=expand_upc_e(barcode))


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("products", "0006_barcode_key")]

    operations = [
        ValidateConstraintOnPostgres("product", "product_barcode_is_a_gtin_or_upc_e"),
        migrations.RunPython(fill_barcode_keys, expand_upc_es, elidable=True),
    ]
