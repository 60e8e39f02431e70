from django.db import migrations, models

import nutrition.gtin
from countonme.db.migration_operations import AddConstraintNotValid


class Migration(migrations.Migration):
    """The number of the barcode, by which barcodes are compared, and barcodes that are UPC-E."""

    dependencies = [("products", "0005_fold_names")]

    operations = [
        migrations.AddField(
            model_name="product",
            name="barcode_key",
            field=models.BigIntegerField(
                editable=False, help_text="The number of the barcode, derived when the barcode changes.", null=True
            ),
        ),
        migrations.AlterField(
            model_name="product",
            name="barcode",
            field=models.CharField(
                blank=True,
                help_text="A GTIN or UPC-E, with its check digit.",
                max_length=14,
                null=True,
                validators=nutrition.gtin.GTIN_VALIDATORS,
            ),
        ),
        migrations.RemoveConstraint(model_name="product", name="product_barcode_is_a_gtin"),
        AddConstraintNotValid(
            model_name="product",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("barcode", None),
                    nutrition.gtin.IsGtin("barcode"),
                    nutrition.gtin.IsUpcE("barcode"),
                    _connector="OR",
                ),
                name="product_barcode_is_a_gtin_or_upc_e",
            ),
        ),
    ]
