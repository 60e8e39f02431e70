from django.db import migrations, models

from countonme.db.migration_operations import AddConstraintNotValid


class Migration(migrations.Migration):
    """A meal can have any name of up to 30 characters. PostgreSQL makes a `varchar` longer without reading the rows."""

    dependencies = [("food_entries", "0006_no_index_by_day_alone")]

    operations = [
        migrations.RemoveConstraint(model_name="foodentry", name="food_entry_is_of_a_meal"),
        migrations.AlterField(
            model_name="foodentry",
            name="meal_type",
            field=models.CharField(default="snacks", max_length=30),
        ),
        AddConstraintNotValid(
            model_name="foodentry",
            constraint=models.CheckConstraint(
                condition=models.Q(meal_type__length__gte=1, meal_type__length__lte=30),
                name="foodentry_meal_type__length_within_bounds",
            ),
        ),
    ]
