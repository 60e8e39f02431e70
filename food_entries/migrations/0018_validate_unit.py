from django.db import migrations

from countonme.db.migration_operations import ValidateConstraintOnPostgres


class Migration(migrations.Migration):
    dependencies = [("food_entries", "0017_unit")]

    operations = [ValidateConstraintOnPostgres("foodentry", "foodentry_unit_is_known")]
