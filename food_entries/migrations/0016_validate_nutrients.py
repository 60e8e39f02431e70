from django.db import migrations

from countonme.db.migration_operations import ValidateConstraintOnPostgres

NUTRIENTS = ("sugars", "saturated_fat", "fiber", "salt")


class Migration(migrations.Migration):
    dependencies = [("food_entries", "0015_nutrients")]

    operations = [
        *(ValidateConstraintOnPostgres("foodentry", f"foodentry_{name}_100g_within_bounds") for name in NUTRIENTS),
        *(ValidateConstraintOnPostgres("foodentry", f"foodentry_total_of_{name}_is_known") for name in NUTRIENTS),
    ]
