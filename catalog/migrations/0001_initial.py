from decimal import Decimal

import django.core.validators
import django.db.models.deletion
from django.db import migrations, models

from countonme.db.migration_operations import PostgresSQL, SQLiteSQL

TIERS = (0, 1, 2)

# The `ascii` tokenizer keeps words of other scripts whole, and the words have no other characters.
TABLE = """
CREATE VIRTUAL TABLE catalog_words_{tier}
USING fts5(words, content = '', detail = none, columnsize = 0, tokenize = "ascii tokenchars '.'")
"""
INSERT = "INSERT INTO catalog_words_{tier} (rowid, words) SELECT new.serial, new.words WHERE new.tier = {tier};"
DELETE = """
INSERT INTO catalog_words_{tier} (catalog_words_{tier}, rowid, words)
SELECT 'delete', old.serial, old.words WHERE old.tier = {tier};
"""


def for_each_tier(*templates: str) -> str:
    return "\n".join(template.format(tier=tier) for template in templates for tier in TIERS)


def trigger(event: str, body: str) -> str:
    return f"CREATE TRIGGER catalog_words_after_{event.split()[0].lower()} AFTER {event} BEGIN\n{body}\nEND"


class Migration(migrations.Migration):
    """Indexes of the words of each tier: GIN on PostgreSQL, FTS5 tables that triggers fill on SQLite.

    A later migration that makes Django copy `catalog_foods` on SQLite, such as a change of a column or a constraint,
    loses the triggers and must create them again.
    """

    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="CatalogRelease",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("source", models.CharField(max_length=10)),
                ("file_name", models.CharField(max_length=255)),
                ("started_at", models.DateTimeField()),
                (
                    "finished_at",
                    models.DateTimeField(help_text="Null while it runs, and if it was stopped.", null=True),
                ),
                (
                    "batches",
                    models.IntegerField(
                        default=0, help_text="Stored batches of rows. ETags of the catalogue contain it."
                    ),
                ),
                ("read", models.IntegerField(default=0)),
                ("changed", models.IntegerField(default=0, help_text="New and changed foods.")),
                ("withdrawn", models.IntegerField(default=0)),
                ("refused", models.JSONField(default=dict, help_text="How many rows were refused, by reason.")),
                ("foods", models.IntegerField(help_text="Foods of the source when the import finished.", null=True)),
            ],
            options={
                "verbose_name": "release",
                "db_table": "catalog_releases",
            },
        ),
        migrations.CreateModel(
            name="CatalogFood",
            fields=[
                ("serial", models.BigAutoField(primary_key=True, serialize=False)),
                ("uuid", models.UUIDField(unique=True)),
                ("source", models.CharField(max_length=10)),
                ("source_id", models.CharField(max_length=30)),
                ("barcode", models.CharField(help_text="A GTIN, always with 14 digits.", max_length=14, null=True)),
                ("name", models.CharField(max_length=200)),
                ("brand", models.CharField(max_length=100, null=True)),
                ("lang", models.CharField(max_length=10, null=True)),
                ("countries", models.TextField()),
                ("unit", models.CharField(max_length=2)),
                ("kcal_100g", models.IntegerField()),
                (
                    "protein_100g",
                    models.DecimalField(
                        blank=True,
                        decimal_places=2,
                        help_text="g per 100 g.",
                        max_digits=5,
                        null=True,
                        validators=[
                            django.core.validators.MinValueValidator(0),
                            django.core.validators.MaxValueValidator(100),
                        ],
                    ),
                ),
                (
                    "carbs_100g",
                    models.DecimalField(
                        blank=True,
                        decimal_places=2,
                        help_text="g per 100 g.",
                        max_digits=5,
                        null=True,
                        validators=[
                            django.core.validators.MinValueValidator(0),
                            django.core.validators.MaxValueValidator(100),
                        ],
                    ),
                ),
                (
                    "fat_100g",
                    models.DecimalField(
                        blank=True,
                        decimal_places=2,
                        help_text="g per 100 g.",
                        max_digits=5,
                        null=True,
                        validators=[
                            django.core.validators.MinValueValidator(0),
                            django.core.validators.MaxValueValidator(100),
                        ],
                    ),
                ),
                (
                    "sugars_100g",
                    models.DecimalField(
                        blank=True,
                        decimal_places=2,
                        help_text="g per 100 g.",
                        max_digits=5,
                        null=True,
                        validators=[
                            django.core.validators.MinValueValidator(0),
                            django.core.validators.MaxValueValidator(100),
                        ],
                    ),
                ),
                (
                    "saturated_fat_100g",
                    models.DecimalField(
                        blank=True,
                        decimal_places=2,
                        help_text="g per 100 g.",
                        max_digits=5,
                        null=True,
                        validators=[
                            django.core.validators.MinValueValidator(0),
                            django.core.validators.MaxValueValidator(100),
                        ],
                    ),
                ),
                (
                    "fiber_100g",
                    models.DecimalField(
                        blank=True,
                        decimal_places=2,
                        help_text="g per 100 g.",
                        max_digits=5,
                        null=True,
                        validators=[
                            django.core.validators.MinValueValidator(0),
                            django.core.validators.MaxValueValidator(100),
                        ],
                    ),
                ),
                (
                    "salt_100g",
                    models.DecimalField(
                        blank=True,
                        decimal_places=2,
                        help_text="g per 100 g.",
                        max_digits=5,
                        null=True,
                        validators=[
                            django.core.validators.MinValueValidator(0),
                            django.core.validators.MaxValueValidator(100),
                        ],
                    ),
                ),
                ("words", models.TextField()),
                ("first", models.TextField(help_text="The first word of the name.")),
                (
                    "tier",
                    models.SmallIntegerField(
                        help_text="0: generic, 1: popular, 2: the rest, null: withdrawn.", null=True
                    ),
                ),
                ("weight", models.IntegerField()),
                ("scans", models.IntegerField()),
                (
                    "source_modified",
                    models.BigIntegerField(help_text="When the source changed it, in seconds since 1970."),
                ),
                ("updated_at", models.DateTimeField()),
                (
                    "release",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="catalog.catalogrelease",
                    ),
                ),
            ],
            options={
                "verbose_name": "food",
                "db_table": "catalog_foods",
            },
        ),
        migrations.CreateModel(
            name="CatalogSpelling",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("word", models.TextField()),
                ("squeezed", models.TextField(help_text="The word with one letter for each double letter.")),
                ("foods", models.IntegerField(help_text="How many foods have the word.")),
            ],
            options={
                "verbose_name": "spelling",
                "db_table": "catalog_spellings",
                "indexes": [models.Index(fields=["squeezed"], name="catalog_spelling_by_squeezed")],
            },
        ),
        migrations.CreateModel(
            name="CatalogPortion",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("position", models.SmallIntegerField()),
                ("name", models.CharField(max_length=100)),
                ("grams", models.DecimalField(decimal_places=2, max_digits=7)),
                (
                    "food",
                    models.ForeignKey(
                        db_index=False, on_delete=django.db.models.deletion.CASCADE, to="catalog.catalogfood"
                    ),
                ),
            ],
            options={
                "verbose_name": "portion of a food",
                "verbose_name_plural": "portions of foods",
                "db_table": "catalog_portions",
                "default_related_name": "portions",
                "constraints": [
                    models.UniqueConstraint(
                        fields=("food", "position"), name="catalog_food_has_one_portion_at_a_position"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("name__length__gte", 1), ("name__length__lte", 100)),
                        name="catalogportion_name__length_within_bounds",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("grams__gte", Decimal("0.01")), ("grams__lte", 10000)),
                        name="catalogportion_grams_within_bounds",
                    ),
                ],
            },
        ),
        migrations.AddIndex(
            model_name="catalogfood",
            index=models.Index(
                condition=models.Q(("barcode__isnull", False)), fields=["barcode"], name="catalog_food_by_barcode"
            ),
        ),
        migrations.AddConstraint(
            model_name="catalogfood",
            constraint=models.CheckConstraint(
                condition=models.Q(("name__length__gte", 1), ("name__length__lte", 200)),
                name="catalogfood_name__length_within_bounds",
            ),
        ),
        migrations.AddConstraint(
            model_name="catalogfood",
            constraint=models.CheckConstraint(
                condition=models.Q(("kcal_100g__gte", 0), ("kcal_100g__lte", 908)),
                name="catalogfood_kcal_100g_within_bounds",
            ),
        ),
        migrations.AddConstraint(
            model_name="catalogfood",
            constraint=models.CheckConstraint(
                condition=models.Q(("protein_100g__gte", 0), ("protein_100g__lte", 100)),
                name="catalogfood_protein_100g_within_bounds",
            ),
        ),
        migrations.AddConstraint(
            model_name="catalogfood",
            constraint=models.CheckConstraint(
                condition=models.Q(("carbs_100g__gte", 0), ("carbs_100g__lte", 100)),
                name="catalogfood_carbs_100g_within_bounds",
            ),
        ),
        migrations.AddConstraint(
            model_name="catalogfood",
            constraint=models.CheckConstraint(
                condition=models.Q(("fat_100g__gte", 0), ("fat_100g__lte", 100)),
                name="catalogfood_fat_100g_within_bounds",
            ),
        ),
        migrations.AddConstraint(
            model_name="catalogfood",
            constraint=models.CheckConstraint(
                condition=models.Q(("sugars_100g__gte", 0), ("sugars_100g__lte", 100)),
                name="catalogfood_sugars_100g_within_bounds",
            ),
        ),
        migrations.AddConstraint(
            model_name="catalogfood",
            constraint=models.CheckConstraint(
                condition=models.Q(("saturated_fat_100g__gte", 0), ("saturated_fat_100g__lte", 100)),
                name="catalogfood_saturated_fat_100g_within_bounds",
            ),
        ),
        migrations.AddConstraint(
            model_name="catalogfood",
            constraint=models.CheckConstraint(
                condition=models.Q(("fiber_100g__gte", 0), ("fiber_100g__lte", 100)),
                name="catalogfood_fiber_100g_within_bounds",
            ),
        ),
        migrations.AddConstraint(
            model_name="catalogfood",
            constraint=models.CheckConstraint(
                condition=models.Q(("salt_100g__gte", 0), ("salt_100g__lte", 100)),
                name="catalogfood_salt_100g_within_bounds",
            ),
        ),
        migrations.AddConstraint(
            model_name="catalogfood",
            constraint=models.CheckConstraint(
                condition=models.Q(("tier__gte", 0), ("tier__lte", 2)), name="catalogfood_tier_within_bounds"
            ),
        ),
        migrations.AddConstraint(
            model_name="catalogfood",
            constraint=models.CheckConstraint(
                condition=models.Q(("unit__in", ("g", "ml"))), name="catalogfood_unit_is_g_or_ml"
            ),
        ),
        *(
            PostgresSQL(
                f"CREATE INDEX catalog_words_{tier} ON catalog_foods"
                " USING gin (array_to_tsvector(string_to_array(words, ' ')))"
                f" WITH (fastupdate = off) WHERE tier = {tier}",
                f"DROP INDEX catalog_words_{tier}",
            )
            for tier in TIERS
        ),
        *(SQLiteSQL([TABLE.format(tier=tier)], [f"DROP TABLE catalog_words_{tier}"]) for tier in TIERS),
        SQLiteSQL(
            [
                trigger("INSERT ON catalog_foods", for_each_tier(INSERT)),
                trigger("DELETE ON catalog_foods", for_each_tier(DELETE)),
                trigger(
                    "UPDATE OF words, tier ON catalog_foods"
                    " WHEN old.words IS NOT new.words OR old.tier IS NOT new.tier",
                    for_each_tier(DELETE, INSERT),
                ),
            ],
            [f"DROP TRIGGER catalog_words_after_{event}" for event in ("insert", "delete", "update")],
        ),
    ]
