from django.db import migrations, models

from countonme.db.migration_operations import AddIndexConcurrently


class Migration(migrations.Migration):
    """Days are summed up in the order of this index. A day's entries, ten or so, are sorted when they are listed."""

    atomic = False

    dependencies = [("food_entries", "0004_one_key_to_the_product_and_the_portion")]

    operations = [
        AddIndexConcurrently(
            "foodentry",
            models.Index(
                fields=["device", "date", "meal_type"],
                condition=models.Q(deleted_at=None),
                name="food_entry_by_day_and_meal",
            ),
        ),
    ]
