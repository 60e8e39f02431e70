from decimal import Decimal

from django.db import migrations, models

from countonme.db.migration_operations import AddConstraintNotValid


class Migration(migrations.Migration):
    """An entry has a copy of its portion's name and weight. The previous release leaves the columns null."""

    dependencies = [("food_entries", "0010_validate_time")]

    operations = [
        migrations.AddField(
            model_name="foodentry",
            name="portion_name",
            field=models.CharField(editable=False, max_length=100, null=True),
        ),
        migrations.AddField(
            model_name="foodentry",
            name="portion_grams",
            field=models.DecimalField(decimal_places=6, editable=False, max_digits=14, null=True),
        ),
        AddConstraintNotValid(
            model_name="foodentry",
            constraint=models.CheckConstraint(
                condition=models.Q(portion_name__length__gte=1, portion_name__length__lte=100),
                name="foodentry_portion_name__length_within_bounds",
            ),
        ),
        AddConstraintNotValid(
            model_name="foodentry",
            constraint=models.CheckConstraint(
                condition=models.Q(portion_grams__gte=Decimal("0.00001"), portion_grams__lte=10_000_000),
                name="foodentry_portion_grams_within_bounds",
            ),
        ),
        AddConstraintNotValid(
            model_name="foodentry",
            constraint=models.CheckConstraint(
                condition=models.Q(portion_name=None, portion_grams=None)
                | models.Q(portion_name__isnull=False, portion_grams__isnull=False),
                name="food_entry_portion_has_name_and_weight",
            ),
        ),
    ]
