from django.db import migrations, models
from django.db.models import Q

from countonme.db.migration_operations import AddConstraintNotValid


class Migration(migrations.Migration):
    """An entry has a copy of its product's unit. All stored products are measured in grams."""

    dependencies = [("food_entries", "0016_validate_nutrients")]

    operations = [
        migrations.AddField(
            "foodentry",
            "unit",
            models.CharField(
                choices=[("g", "g"), ("ml", "ml")],
                db_default="g",
                default="g",
                editable=False,
                help_text='What "100 g" and "grams" mean. It changes no arithmetic.',
                max_length=2,
            ),
        ),
        AddConstraintNotValid(
            "foodentry",
            models.CheckConstraint(condition=Q(("unit__in", ("g", "ml"))), name="foodentry_unit_is_known"),
        ),
    ]
