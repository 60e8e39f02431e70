from collections.abc import Iterable
from decimal import Decimal

from django.conf import settings
from django.db import models
from django.db.models import Q

from countonme.api.errors import Conflict
from countonme.api.fields import HUNDREDTH
from countonme.db.compiled import transformed
from countonme.db.constraints import bounds, within
from countonme.db.fields import NameField, with_fields
from devices.models import Device
from nutrition.fields import KCAL_100G, NAME_LENGTH, label_constraints, nutrient_field, unit_field
from nutrition.gtin import GTIN_VALIDATORS, IsGtin, IsUpcE, barcode_number
from nutrition.names import NameKeyField, contains_parts
from nutrition.nutrients import NAMES_100G
from ownership.models import DeviceOwned, LiveManager, OwnedQuerySet
from ownership.quotas import quota_reached

PORTION_GRAMS = (HUNDREDTH, 10_000)


class ProductQuerySet(OwnedQuerySet):
    def search(self, parts: Iterable):
        """Filter by products that have each part of a search text, as `search_parts()` returns them."""
        return self.filter(*has_parts(parts))

    def by_name(self):
        return self.order_by("name_key", "id")

    def add(self, device: Device, *, portions: Iterable[dict] = (), **values) -> "Product":
        """Create a product and its portions: by default one, `100g`. The last default is the default, or the first."""
        product = self.model.new(device_id=device.pk, **values)
        product.save()
        ids = {"device_id": device.pk, "product_id": product.pk}
        new = [Portion.new(**ids, **portion) for portion in portions] or [Portion.new_default(**ids)]
        default = next((portion for portion in reversed(new) if portion.is_default), new[0])
        for portion in new:
            portion.is_default = portion is default
        product.new_portions = Portion.all_objects.bulk_create(new)
        return product


class Product(DeviceOwned, with_fields({name: nutrient_field() for name in NAMES_100G})):
    """A food of a device, with the values per 100 g from its label."""

    name = NameField(max_length=NAME_LENGTH[1])
    name_key = NameKeyField()
    brand = NameField(max_length=NAME_LENGTH[1], null=True, blank=True)
    brand_key = NameKeyField(of="brand", null=True)
    kcal_100g = models.IntegerField(validators=bounds(KCAL_100G), help_text="kcal per 100 g.")
    unit = unit_field()
    barcode = models.CharField(  # noqa: DJ001 - null means no barcode: the unique constraint ignores it
        max_length=14,
        null=True,
        blank=True,
        validators=GTIN_VALIDATORS,
        help_text="A GTIN or UPC-E, with its check digit.",
    )
    barcode_key = models.BigIntegerField(
        null=True, editable=False, help_text="The number of the barcode, derived when the barcode changes."
    )

    is_favorite = models.BooleanField(default=False, db_default=False)
    catalog_food_id = models.UUIDField(
        null=True, blank=True, help_text="The food of the catalogue that it was copied from."
    )

    quota_setting = "MAX_PRODUCTS"

    new_portions: "list[Portion] | None" = None  # set by `add()`, for the response

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
            models.UniqueConstraint(
                fields=["device", "barcode_key"],
                condition=Q(deleted_at=None, barcode_key__isnull=False),
                name="product_has_a_barcode_number_of_its_own",
                violation_error_message="Another product has this barcode.",
            ),
            within("name__length", NAME_LENGTH),
            within("brand__length", NAME_LENGTH),
            *label_constraints(),
            models.CheckConstraint(
                condition=Q(barcode=None) | Q(IsGtin("barcode")) | Q(IsUpcE("barcode")),
                name="product_barcode_is_a_gtin_or_upc_e",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @classmethod
    def new(cls, **columns) -> "Product":
        return super().new(**columns, barcode_key=barcode_key(columns.get("barcode")))

    def assign(self, **values) -> bool:
        """Assign the values that changed. Only a new barcode gets a new key: an old one may have none.

        The migration that added the keys gave none to products whose barcode another product had in another spelling.
        A key of another barcode is removed: the previous release changes barcodes, and leaves the keys.
        """
        barcode = values.get("barcode", self.barcode)
        if barcode != self.barcode:
            values["barcode_key"] = barcode_key(barcode)
        elif self.barcode_key not in (None, barcode_key(barcode)):
            values["barcode_key"] = None
        return super().assign(**values)

    def soft_delete(self) -> None:
        """Soft-delete the product and its portions. Food entries that were logged with it stay."""
        Portion.objects.for_device(self.device_id).filter(product=self).soft_delete()
        super().soft_delete()

    def restore(self) -> None:
        """Restore the product and the portions deleted with it. Create a default portion if there are none."""
        portions = Portion.all_objects.for_device(self.device_id).filter(product=self).deleted_with(self)
        default = portions.order_by("-is_default", "created_at", "id").first()
        self.barcode_key = barcode_key(self.barcode)
        super().restore()
        if default is None:  # all portions were purged
            Portion.new_default(device_id=self.device_id, product_id=self.pk).save()
            return
        portions.update(deleted_at=None, is_default=Q(pk=default.pk))


def has_parts(parts: Iterable) -> list[Q]:
    """Return the conditions that a product has each part of a search text, in its name or its brand."""
    return [Q(*contains_parts("name_key", [part])) | Q(*contains_parts("brand_key", [part])) for part in parts]


def has_barcode(barcode: str) -> Q:
    """Return the condition that a product has this barcode, in any spelling.

    A product without a key is only found by its own spelling.
    """
    return Q(barcode_key=transformed(barcode_number, barcode, models.BigIntegerField())) | Q(barcode=barcode)


def barcode_key(barcode: str | None) -> int | None:
    return None if barcode is None else barcode_number(barcode)


def refuse_too_many(portions: int) -> None:
    """Raise QuotaReached if a product can't have so many portions. Deleted ones count."""
    limit = settings.MAX_PORTIONS_PER_PRODUCT
    if portions > limit:
        raise quota_reached(limit, Portion, Product)


class PortionQuerySet(OwnedQuerySet):
    def default_first(self):
        # Products come first, because a query may have the portions of several.
        return self.order_by("product_id", "-is_default", "name_key", "id")

    def add(self, product: Product, *, is_default: bool = False, **values) -> "Portion":
        """Create a portion of the product. If it is the default, the current default portion no longer is.

        Raises QuotaReached if the product already has MAX_PORTIONS_PER_PRODUCT portions, including deleted ones.
        """
        stored = Portion.all_objects.for_device(product.device_id).filter(product=product)
        refuse_too_many(stored.order_by()[: settings.MAX_PORTIONS_PER_PRODUCT].count() + 1)
        if is_default:
            self.for_device(product.device_id).filter(product=product, is_default=True).update(is_default=False)
        portion = self.model.new(device_id=product.device_id, product_id=product.pk, is_default=is_default, **values)
        portion.save()
        return portion


class Portion(DeviceOwned):
    """A named amount of a product, such as a slice of 35 g. Each live product has exactly one default portion.

    A unique constraint prevents a second one. Change sets hold the device's lock, so that no concurrent requests can
    together remove the last one.
    """

    quota_setting = "MAX_PORTIONS"
    quota_per_parent_setting = "MAX_PORTIONS_PER_PRODUCT"

    product = models.ForeignKey(Product, on_delete=models.PROTECT, db_index=False)
    name = NameField(max_length=NAME_LENGTH[1])
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
    def new_default(cls, **ids) -> "Portion":
        """Return an unsaved default portion, `100g`. `ids` are `device_id` and `product_id`."""
        return cls.new(name="100g", grams=Decimal(100), is_default=True, **ids)

    @property
    def siblings(self) -> PortionQuerySet:
        """The other live portions of the same product."""
        return Portion.objects.for_device(self.device_id).filter(product=self.product_id).exclude(pk=self.pk)

    def change(self, **values) -> bool:
        becomes_default = values.get("is_default", self.is_default)
        if self.is_default and not becomes_default:
            raise Conflict("A product needs a default portion. Make another portion the default instead.")
        if becomes_default and not self.is_default:
            self.siblings.filter(is_default=True).update(is_default=False)
        return super().change(**values)

    def soft_delete(self) -> None:
        """Soft-delete the portion. If it was the default, the oldest remaining portion becomes the default."""
        successor = self.siblings.order_by("created_at", "id").first()
        if successor is None:
            raise Conflict("The only portion of a product can't be deleted.")
        was_default, self.is_default = self.is_default, False
        super().soft_delete()
        if was_default:
            successor.change(is_default=True)

    def restore(self) -> None:
        """Restore the portion. It does not become the default, because another one already is."""
        if not Product.objects.for_device(self.device_id).filter(pk=self.product_id).exists():
            raise Conflict("Its product is deleted. Restore the product first.")
        self.is_default = False
        super().restore()
