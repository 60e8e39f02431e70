from django.db import migrations

from countonme.db.migration_operations import ValidateConstraintOnPostgres


class Migration(migrations.Migration):
    dependencies = [("food_entries", "0012_fill_portion_snapshots")]

    operations = [
        ValidateConstraintOnPostgres("foodentry", "foodentry_portion_name__length_within_bounds"),
        ValidateConstraintOnPostgres("foodentry", "foodentry_portion_grams_within_bounds"),
        ValidateConstraintOnPostgres("foodentry", "food_entry_portion_has_name_and_weight"),
    ]
