from django.db import migrations, models

from products.gtin import IsGtin

CHECK = models.CheckConstraint(
    condition=models.Q(("barcode", None), IsGtin("barcode"), _connector="OR"), name="product_barcode_is_a_gtin"
)


class Migration(migrations.Migration):
    """The same constraint without the check digit, whose sum cost more than storing the product."""

    dependencies = [("products", "0004_one_key_to_the_product")]

    operations = [
        migrations.RemoveConstraint(model_name="product", name=CHECK.name),
        migrations.AddConstraint(model_name="product", constraint=CHECK),
    ]
