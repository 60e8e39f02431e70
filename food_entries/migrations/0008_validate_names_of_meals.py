from django.db import migrations

from countonme.db.migration_operations import ValidateConstraintOnPostgres


class Migration(migrations.Migration):
    dependencies = [("food_entries", "0007_names_of_meals")]

    operations = [ValidateConstraintOnPostgres("foodentry", "foodentry_meal_type__length_within_bounds")]
