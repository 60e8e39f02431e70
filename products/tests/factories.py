from decimal import Decimal

import factory

from ownership.models import change_set
from products.models import Portion, Product


class OwnedFactory(factory.django.DjangoModelFactory):
    """Makes a row in a change set of its device's, like everyone else."""

    class Meta:
        abstract = True

    @classmethod
    def _create(cls, model_class, *args, **kwargs):
        with change_set(kwargs["device"]):
            return cls.born(model_class, **kwargs)

    @classmethod
    def born(cls, model_class, **kwargs):
        return model_class.objects.create(**kwargs)


class ProductFactory(OwnedFactory):
    """A product with its default portion. Needs a `device`."""

    class Meta:
        model = Product

    name = factory.Sequence("Food {:04d}".format)
    kcal_100g = 250
    protein_100g = Decimal("10.50")
    carbs_100g = Decimal("30.25")
    fat_100g = None

    @classmethod
    def born(cls, model_class, **kwargs):
        return Product.objects.add(**kwargs)


class PortionFactory(OwnedFactory):
    """A portion. It belongs to the device of its `product`."""

    class Meta:
        model = Portion

    product = None
    device = factory.LazyAttribute(lambda portion: portion.product.device)
    name = factory.Sequence("Portion {:04d}".format)
    grams = Decimal("40.00")
