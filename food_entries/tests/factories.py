from datetime import date
from decimal import Decimal

import factory

from food_entries.models import FoodEntry
from ownership.tests.factories import OwnedFactory
from products.tests.factories import ProductFactory


class FoodEntryFactory(OwnedFactory):
    """An entry of 200 g of a new product, unless a product is given. The device is the product's."""

    class Meta:
        model = FoodEntry

    device = factory.LazyAttribute(lambda entry: entry.product.device)
    product = factory.SubFactory(ProductFactory, device=factory.SelfAttribute("..device"))
    grams = Decimal("200.00")
    date = date(2026, 1, 5)

    @classmethod
    def build_row(cls, model_class, **kwargs):
        entry = FoodEntry.draft(**kwargs)
        entry.save()
        return entry
