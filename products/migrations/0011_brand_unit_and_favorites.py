from django.db import migrations, models
from django.db.models import Q

import nutrition.names
from countonme.db.migration_operations import AddConstraintNotValid


class Migration(migrations.Migration):
    dependencies = [("products", "0010_validate_nutrients")]

    operations = [
        migrations.AddField("product", "brand", models.CharField(blank=True, max_length=100, null=True)),
        migrations.AddField("product", "brand_key", nutrition.names.NameKeyField(null=True, of="brand")),
        migrations.AddField(
            "product",
            "unit",
            models.CharField(
                choices=[("g", "g"), ("ml", "ml")],
                db_default="g",
                default="g",
                help_text='What "100 g" and "grams" mean. It changes no arithmetic.',
                max_length=2,
            ),
        ),
        migrations.AddField("product", "is_favorite", models.BooleanField(db_default=False, default=False)),
        migrations.AddField(
            "product",
            "catalog_food_id",
            models.UUIDField(blank=True, help_text="The food of the catalogue that it was copied from.", null=True),
        ),
        AddConstraintNotValid(
            "product",
            models.CheckConstraint(
                condition=Q(("brand__length__gte", 1), ("brand__length__lte", 100)),
                name="product_brand__length_within_bounds",
            ),
        ),
        AddConstraintNotValid(
            "product",
            models.CheckConstraint(condition=Q(("unit__in", ("g", "ml"))), name="product_unit_is_known"),
        ),
    ]
