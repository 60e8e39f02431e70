from django.db import migrations

from countonme.db.migration_operations import ValidateConstraintOnPostgres

COLUMNS = ("sugars_100g", "saturated_fat_100g", "fiber_100g", "salt_100g")


class Migration(migrations.Migration):
    dependencies = [("products", "0009_nutrients")]

    operations = [ValidateConstraintOnPostgres("product", f"product_{name}_within_bounds") for name in COLUMNS]
