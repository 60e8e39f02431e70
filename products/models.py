from decimal import Decimal

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from countonme.api.errors import Conflict
from countonme.api.fields import HUNDREDTH
from countonme.db.compiled import transformed
from countonme.db.constraints import bounds, within
from devices.models import Device
from nutrition.fields import KCAL_100G, NAME_LENGTH, NUTRIENT_100G, nutrient_field
from nutrition.gtin import GTIN_VALIDATORS, IsGtin
from nutrition.names import NameKeyField, Position, part_key
from ownership.models import DeviceOwned, LiveManager, OwnedQuerySet
from ownership.quotas import quota_reached

PORTION_GRAMS = (HUNDREDTH, 10_000)


class ProductQuerySet(OwnedQuerySet):
    def named(self, text: str):
        """Keep the names that contain `text`, without regard to case or accents."""
        # Not LIKE: nothing in the text is a wildcard, and SQLite bounds the length of a pattern.
        return self.alias(place=Position("name_key", transformed(part_key, text))).filter(place__gt=0)

    def by_name(self):
        return self.order_by("name_key", "id")

    def add(self, device: Device, **values) -> "Product":
        """Store a new product together with its default portion, `100g` of 100 g."""
        product = self.model.new(device_id=device.pk, **values)
        product.save()
        product.new_default_portion = Portion.of_100g(device_id=device.pk, product_id=product.pk)
        product.new_default_portion.save()
        return product


class Product(DeviceOwned):
    """A food that the device keeps, with what its label says about 100 g of it."""

    name = models.CharField(max_length=NAME_LENGTH[1])
    name_key = NameKeyField()
    kcal_100g = models.IntegerField(validators=bounds(KCAL_100G), help_text="kcal per 100 g.")
    protein_100g = nutrient_field()
    carbs_100g = nutrient_field()
    fat_100g = nutrient_field()
    barcode = models.CharField(  # noqa: DJ001 - null says that there is none
        max_length=14, null=True, blank=True, validators=GTIN_VALIDATORS, help_text="A GTIN, with its check digit."
    )

    quota_setting = "MAX_PRODUCTS"

    new_default_portion: "Portion | None" = None  # of a product that was just created

    objects = LiveManager.from_queryset(ProductQuerySet)()
    all_objects = models.Manager.from_queryset(ProductQuerySet)()

    class Meta(DeviceOwned.Meta):
        db_table = "products"
        default_related_name = "products"
        indexes = [
            *DeviceOwned.Meta.indexes,
            models.Index(fields=["device", "name_key", "id"], condition=Q(deleted_at=None), name="product_by_name"),
        ]
        constraints = [
            *DeviceOwned.Meta.constraints,
            models.UniqueConstraint(
                fields=["device", "barcode"],
                condition=Q(deleted_at=None),
                name="product_has_a_barcode_of_its_own",
                violation_error_message="Another product has this barcode.",
            ),
            within("name__length", NAME_LENGTH),
            within("kcal_100g", KCAL_100G),
            within("protein_100g", NUTRIENT_100G),
            within("carbs_100g", NUTRIENT_100G),
            within("fat_100g", NUTRIENT_100G),
            models.CheckConstraint(condition=Q(barcode=None) | Q(IsGtin("barcode")), name="product_barcode_is_a_gtin"),
        ]

    def __str__(self) -> str:
        return self.name

    def soft_delete(self) -> None:
        """Delete the product and its portions with it. Food entries that were logged with it stay."""
        Portion.objects.for_device(self.device_id).filter(product=self).soft_delete()
        super().soft_delete()

    def restore(self) -> None:
        """Bring the product back with the portions that went with it. One of them is its default; else one is made."""
        portions = Portion.all_objects.for_device(self.device_id).filter(product=self).gone_with(self)
        default = portions.order_by("-is_default", "created_at", "id").first()
        super().restore()
        if default is None:  # they were purged
            Portion.of_100g(device_id=self.device_id, product_id=self.pk).save()
            return
        portions.update(deleted_at=None, is_default=False)
        default.refresh_from_db()
        default.change(is_default=True)


class PortionQuerySet(OwnedQuerySet):
    def default_first(self):
        # By product before that: where there are many, it decides at once.
        return self.order_by("product_id", "-is_default", "name_key", "id")

    def gone_with(self, product: Product):
        """Keep those that were deleted with the product, or that came when it was deleted already.

        Their revision does not tell: a tombstone that a phone pushes once more gets a new one. The moment stays.
        """
        return self.filter(Q(deleted_at=product.deleted_at) | Q(created_at__gte=F("deleted_at")))

    def add(self, product: Product, *, is_default: bool = False, **values) -> "Portion":
        """Store a new portion of the product; as the default, it takes that from the present one.

        Raises QuotaReached if the product has as many portions as it may, deleted ones included.
        """
        limit = settings.MAX_PORTIONS_PER_PRODUCT
        stored = Portion.all_objects.for_device(product.device_id).filter(product=product)
        if stored.order_by()[:limit].count() >= limit:
            raise quota_reached(limit, Portion, Product)
        if is_default:
            self.for_device(product.device_id).filter(product=product, is_default=True).update(is_default=False)
        portion = self.model.new(device_id=product.device_id, product_id=product.pk, is_default=is_default, **values)
        portion.save()
        return portion


class Portion(DeviceOwned):
    """A name for some grams of a product. Each live product has exactly one that is its default.

    The device's lock, which every change set holds, keeps it at one or more; a unique constraint at one or less.
    """

    quota_setting = "MAX_PORTIONS"
    quota_per_parent_setting = "MAX_PORTIONS_PER_PRODUCT"

    product = models.ForeignKey(Product, on_delete=models.PROTECT, db_index=False)
    name = models.CharField(max_length=NAME_LENGTH[1])
    name_key = NameKeyField()
    grams = models.DecimalField(max_digits=7, decimal_places=2, validators=bounds(PORTION_GRAMS))
    is_default = models.BooleanField(default=False)

    objects = LiveManager.from_queryset(PortionQuerySet)()
    all_objects = models.Manager.from_queryset(PortionQuerySet)()

    class Meta(DeviceOwned.Meta):
        db_table = "portions"
        default_related_name = "portions"
        indexes = [
            *DeviceOwned.Meta.indexes,
            models.Index(fields=["device", "product"], name="portion_by_product"),
        ]
        constraints = [
            *DeviceOwned.Meta.constraints,
            models.UniqueConstraint(
                fields=["product"],
                condition=Q(deleted_at=None, is_default=True),
                name="product_has_one_default_portion",
                violation_error_message="Another portion is the default.",
            ),
            within("name__length", NAME_LENGTH),
            within("grams", PORTION_GRAMS),
        ]

    def __str__(self) -> str:
        return self.name

    @classmethod
    def of_100g(cls, **of) -> "Portion":
        """Return the default portion, not stored yet, of a product that has none; `of` says which, and whose."""
        return cls.new(name="100g", grams=Decimal(100), is_default=True, **of)

    @property
    def siblings(self) -> PortionQuerySet:
        """The live portions of the same product beside this one."""
        return Portion.objects.for_device(self.device_id).filter(product=self.product_id).exclude(pk=self.pk)

    def change(self, **values) -> bool:
        becomes_default = values.get("is_default", self.is_default)
        if self.is_default and not becomes_default:
            raise Conflict("A product needs a default portion. Make another portion the default instead.")
        if becomes_default and not self.is_default:
            self.siblings.filter(is_default=True).update(is_default=False)
        return super().change(**values)

    def soft_delete(self) -> None:
        """Delete the portion; if it was the default, the oldest of those that are left takes over."""
        heir = self.siblings.order_by("created_at", "id").first()
        if heir is None:
            raise Conflict("The only portion of a product can't be deleted.")
        was_default, self.is_default = self.is_default, False
        super().soft_delete()
        if was_default:
            heir.change(is_default=True)

    def restore(self) -> None:
        """Bring the portion back beside the others, of which one is the default."""
        if self.product.deleted_at is not None:
            raise Conflict("Its product is deleted. Restore the product first.")
        self.is_default = False
        super().restore()
