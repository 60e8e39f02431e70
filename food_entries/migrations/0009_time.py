from django.db import migrations, models

from countonme.db.migration_operations import AddConstraintNotValid


class Migration(migrations.Migration):
    dependencies = [("food_entries", "0008_validate_names_of_meals")]

    operations = [
        migrations.AddField(
            model_name="foodentry",
            name="time",
            field=models.CharField(
                blank=True, help_text="The client's local time, as HH:MM:SS.mmm.", max_length=12, null=True
            ),
        ),
        AddConstraintNotValid(
            model_name="foodentry",
            constraint=models.CheckConstraint(
                condition=models.Q(time__length__gte=12, time__length__lte=12),
                name="foodentry_time__length_within_bounds",
            ),
        ),
    ]
