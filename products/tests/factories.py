from decimal import Decimal

import factory

from ownership.tests.factories import OwnedFactory
from products.models import Portion, Product


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
    def build_row(cls, model_class, **kwargs):
        return Product.objects.add(**kwargs)


class PortionFactory(OwnedFactory):
    """A portion of a new product, unless a product is given. The device is the product's."""

    class Meta:
        model = Portion

    device = factory.LazyAttribute(lambda portion: portion.product.device)
    product = factory.SubFactory(ProductFactory, device=factory.SelfAttribute("..device"))
    name = factory.Sequence("Portion {:04d}".format)
    grams = Decimal("40.00")
