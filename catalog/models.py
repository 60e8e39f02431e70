from django.db import models
from django.db.models import Q

from catalog.food import (
    BRAND_LENGTH,
    KCAL_100G,
    NAME_LENGTH,
    NUTRIENT_100G,
    PORTION_GRAMS,
    PORTION_NAME_LENGTH,
)
from countonme.db.constraints import within
from countonme.db.fields import with_fields
from nutrition.fields import nutrient_field
from nutrition.nutrients import NAMES_100G

GENERIC, POPULAR, REST = TIERS = (0, 1, 2)


class CatalogRelease(models.Model):
    """A run of an import, with what became of the rows that it read."""

    source = models.CharField(max_length=10)
    file_name = models.CharField(max_length=255)
    started_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True, help_text="Null while it runs, and if it was stopped.")
    batches = models.IntegerField(default=0, help_text="Stored batches of rows. ETags of the catalogue contain it.")
    read = models.IntegerField(default=0)
    changed = models.IntegerField(default=0, help_text="New and changed foods.")
    withdrawn = models.IntegerField(default=0)
    refused = models.JSONField(default=dict, help_text="How many rows were refused, by reason.")
    foods = models.IntegerField(null=True, help_text="Foods of the source when the import finished.")

    class Meta:
        db_table = "catalog_releases"
        verbose_name = "release"

    def __str__(self) -> str:
        return f"{self.source} {self.pk}"


class CatalogFood(with_fields({name: nutrient_field() for name in NAMES_100G})):
    """A food that the operator has imported, with values per 100 g or 100 ml. It belongs to no device.

    `tier` and `weight` order the results of a search. Indexes of `words` are in the migrations, one for each tier,
    because they are of another kind on each database.
    """

    serial = models.BigAutoField(primary_key=True)  # the row number in SQLite's indexes of words
    uuid = models.UUIDField(unique=True)
    source = models.CharField(max_length=10)
    source_id = models.CharField(max_length=30)
    barcode = models.CharField(max_length=14, null=True, help_text="A GTIN, always with 14 digits.")  # noqa: DJ001
    name = models.CharField(max_length=NAME_LENGTH[1])
    brand = models.CharField(max_length=BRAND_LENGTH[1], null=True)  # noqa: DJ001 - null means unknown
    lang = models.CharField(max_length=10, null=True)  # noqa: DJ001
    countries = models.TextField()
    unit = models.CharField(max_length=2)
    kcal_100g = models.IntegerField()
    portions_hash = models.BigIntegerField(null=True, help_text="By it, an import sees that portions have changed.")
    words = models.TextField()
    first = models.TextField(help_text="The first word of the name.")
    tier = models.SmallIntegerField(null=True, help_text="0: generic, 1: popular, 2: the rest, null: withdrawn.")
    weight = models.IntegerField()
    scans = models.IntegerField()
    source_modified = models.BigIntegerField(help_text="When the source changed it, in seconds since 1970.")
    # The last import that changed it. Checking a constraint for each of millions of rows would be slow.
    release = models.ForeignKey(
        CatalogRelease, on_delete=models.PROTECT, db_index=False, db_constraint=False, related_name="+"
    )
    updated_at = models.DateTimeField()

    class Meta:
        db_table = "catalog_foods"
        verbose_name = "food"
        indexes = [
            models.Index(fields=["barcode"], condition=Q(barcode__isnull=False), name="catalog_food_by_barcode"),
        ]
        constraints = [
            within("name__length", NAME_LENGTH),
            within("kcal_100g", KCAL_100G),
            *(within(name, NUTRIENT_100G) for name in NAMES_100G),
            within("tier", (GENERIC, REST)),
            models.CheckConstraint(condition=Q(unit__in=("g", "ml")), name="catalogfood_unit_is_g_or_ml"),
        ]

    def __str__(self) -> str:
        return self.name


class CatalogPortion(models.Model):
    """A named amount of a catalogue food. The first one is the default."""

    food = models.ForeignKey(CatalogFood, on_delete=models.CASCADE, db_index=False)
    position = models.SmallIntegerField()
    name = models.CharField(max_length=PORTION_NAME_LENGTH[1])
    grams = models.DecimalField(max_digits=7, decimal_places=2)

    class Meta:
        db_table = "catalog_portions"
        default_related_name = "portions"
        verbose_name = "portion of a food"
        verbose_name_plural = "portions of foods"
        constraints = [
            models.UniqueConstraint(fields=["food", "position"], name="catalog_food_has_one_portion_at_a_position"),
            within("name__length", PORTION_NAME_LENGTH),
            within("grams", PORTION_GRAMS),
        ]

    def __str__(self) -> str:
        return self.name


class CatalogSpelling(models.Model):
    """A word of generic or popular foods, to find what was meant by a word with a typing error."""

    word = models.TextField()
    squeezed = models.TextField(help_text="The word with one letter for each double letter.")
    foods = models.IntegerField(help_text="How many foods have the word.")

    class Meta:
        db_table = "catalog_spellings"
        verbose_name = "spelling"
        indexes = [models.Index(fields=["squeezed"], name="catalog_spelling_by_squeezed")]

    def __str__(self) -> str:
        return self.word


class CatalogBundle(models.Model):
    """A file with the foods of a source, which is stored in parts."""

    source = models.CharField(max_length=10)
    release = models.ForeignKey(CatalogRelease, on_delete=models.PROTECT, db_index=False, related_name="+")
    count = models.IntegerField(help_text="Foods.")
    parts = models.IntegerField(default=0)
    size = models.BigIntegerField(default=0, help_text="Bytes.")
    digest = models.CharField(max_length=32, help_text="A hash of the content without the release.")
    published_at = models.DateTimeField(null=True, help_text="Null until it is complete.")

    class Meta:
        db_table = "catalog_bundles"
        verbose_name = "bundle"

    def __str__(self) -> str:
        return f"{self.source} {self.release_id}"


class CatalogBundlePart(models.Model):
    bundle = models.ForeignKey(CatalogBundle, on_delete=models.CASCADE, db_index=False)
    number = models.IntegerField()
    data = models.BinaryField()

    class Meta:
        db_table = "catalog_bundle_parts"
        verbose_name = "part of a bundle"
        verbose_name_plural = "parts of bundles"
        constraints = [models.UniqueConstraint(fields=["bundle", "number"], name="catalog_bundle_part_is_unique")]

    def __str__(self) -> str:
        return f"{self.bundle_id} {self.number}"
