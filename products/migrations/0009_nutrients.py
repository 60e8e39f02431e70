from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import migrations, models

from countonme.db.migration_operations import AddConstraintNotValid

COLUMNS = ("sugars_100g", "saturated_fat_100g", "fiber_100g", "salt_100g")


class Migration(migrations.Migration):
    """Four more nutrients, which are unknown in all stored products."""

    dependencies = [("products", "0008_unique_barcode_key")]

    operations = [
        *(
            migrations.AddField(
                model_name="product",
                name=name,
                field=models.DecimalField(
                    blank=True,
                    decimal_places=2,
                    help_text="g per 100 g.",
                    max_digits=5,
                    null=True,
                    validators=[MinValueValidator(0), MaxValueValidator(100)],
                ),
            )
            for name in COLUMNS
        ),
        *(
            AddConstraintNotValid(
                model_name="product",
                constraint=models.CheckConstraint(
                    condition=models.Q((f"{name}__gte", 0), (f"{name}__lte", 100)),
                    name=f"product_{name}_within_bounds",
                ),
            )
            for name in COLUMNS
        ),
    ]
