from django.db import migrations, models

from countonme.db.migration_operations import AddUniqueConstraintConcurrently


class Migration(migrations.Migration):
    """The constraint of the barcode's text stays, because the previous release relies on it."""

    atomic = False

    dependencies = [("products", "0007_fill_barcode_keys")]

    operations = [
        AddUniqueConstraintConcurrently(
            model_name="product",
            constraint=models.UniqueConstraint(
                condition=models.Q(barcode_key__isnull=False, deleted_at=None),
                fields=("device", "barcode_key"),
                name="product_has_a_barcode_number_of_its_own",
                violation_error_message="Another product has this barcode.",
            ),
        ),
    ]
