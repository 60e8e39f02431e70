from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import migrations, models
from django.db.models import Q

from countonme.db.migration_operations import AddConstraintNotValid

NUTRIENTS = ("sugars", "saturated_fat", "fiber", "salt")


class Migration(migrations.Migration):
    """Four more nutrients, which are unknown in all stored entries. The previous release leaves them as they are."""

    dependencies = [("food_entries", "0014_help_texts")]

    operations = [
        *(
            migrations.AddField(
                model_name="foodentry",
                name=f"{name}_100g",
                field=models.DecimalField(
                    blank=True,
                    decimal_places=2,
                    editable=False,
                    help_text="g per 100 g.",
                    max_digits=5,
                    null=True,
                    validators=[MinValueValidator(0), MaxValueValidator(100)],
                ),
            )
            for name in NUTRIENTS
        ),
        *(
            migrations.AddField(
                model_name="foodentry",
                name=name,
                field=models.DecimalField(decimal_places=2, editable=False, max_digits=9, null=True),
            )
            for name in NUTRIENTS
        ),
        *(
            AddConstraintNotValid(
                model_name="foodentry",
                constraint=models.CheckConstraint(
                    condition=Q((f"{name}_100g__gte", 0), (f"{name}_100g__lte", 100)),
                    name=f"foodentry_{name}_100g_within_bounds",
                ),
            )
            for name in NUTRIENTS
        ),
        *(
            AddConstraintNotValid(
                model_name="foodentry",
                constraint=models.CheckConstraint(
                    condition=Q(**{name: None, f"{name}_100g": None})
                    | Q(**{f"{name}__isnull": False, f"{name}_100g__isnull": False}),
                    name=f"foodentry_total_of_{name}_is_known",
                ),
            )
            for name in NUTRIENTS
        ),
    ]
