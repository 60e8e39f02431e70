from django.db import migrations

from countonme.db.migration_operations import ValidateConstraintOnPostgres


class Migration(migrations.Migration):
    dependencies = [("food_entries", "0009_time")]

    operations = [ValidateConstraintOnPostgres("foodentry", "foodentry_time__length_within_bounds")]
