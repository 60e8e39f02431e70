from django.db import migrations

from countonme.db.migration_operations import RemoveIndexConcurrently


class Migration(migrations.Migration):
    """The index by day and meal serves all that this one did."""

    atomic = False

    dependencies = [("food_entries", "0005_index_by_day_and_meal")]

    operations = [RemoveIndexConcurrently("foodentry", "food_entry_by_day")]
