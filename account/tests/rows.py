from food_entries.tests.factories import FoodEntryFactory
from ownership.models import owned_models
from ownership.tests.factories import factories
from products.tests.factories import PortionFactory, ProductFactory


def rows_of(device_id) -> list:
    """Return all rows of a device, deleted ones included."""
    return [row for model in owned_models() for row in model.all_objects.for_device(device_id)]


def add_rows(device) -> None:
    """Give the device rows of each model: two products, three portions, and one row of each other model."""
    entry = FoodEntryFactory(device=device, product__name="Insulin shake")
    PortionFactory(product=entry.product)
    ProductFactory(device=device)
    added = {type(row) for row in rows_of(device)}
    for factory in factories():
        if factory._meta.model not in added:
            factory(device=device)
    assert {type(row) for row in rows_of(device)} == set(owned_models())
