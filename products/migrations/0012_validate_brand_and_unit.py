from django.db import migrations

from countonme.db.migration_operations import ValidateConstraintOnPostgres


class Migration(migrations.Migration):
    dependencies = [("products", "0011_brand_unit_and_favorites")]

    operations = [
        ValidateConstraintOnPostgres("product", "product_brand__length_within_bounds"),
        ValidateConstraintOnPostgres("product", "product_unit_is_known"),
    ]
