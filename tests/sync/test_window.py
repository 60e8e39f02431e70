from uuid import uuid4

import pytest

from devices.models import Device
from food_entries.tests.factories import FoodEntryFactory
from products.tests.factories import ProductFactory
from sync.limiter import RowCount
from sync.push.window import RowWindow
from sync.registry import tables


@pytest.fixture
def window(device) -> RowWindow:
    entries = next(table for table in tables() if table.name == "food_entries")
    return RowWindow(entries, device.pk, RowCount(100, on_large=lambda: None))


@pytest.fixture
def ids(device) -> list:
    """Ids of three food entries of one product."""
    of = ProductFactory(device=device)
    return [FoodEntryFactory(device=device, product=of).pk for _ in range(3)]


class TestRowWindow:
    def test_evicts_all_rows_that_it_does_not_load(self, window, ids):
        window.load(ids[:2])
        window.load(ids[1:])

        assert [row.pk for row in window.loaded] == ids[1:]
        assert window.get(ids[0]) is None

    def test_loads_no_row_twice(self, window, ids, django_assert_num_queries):
        missing = uuid4()
        window.load([*ids, missing])
        row = window.get(ids[0])

        with django_assert_num_queries(0):
            window.load([ids[0], missing])

        assert window.get(ids[0]) is row
        assert window.get(missing) is None
        assert window.count.rows == 3

    def test_has_no_rows_of_another_device(self, window, ids, other_device: Device):
        foreign = RowWindow(window.table, other_device.pk, window.count)

        foreign.load(ids)

        assert foreign.loaded == []

    def test_lets_rows_share_equal_ids(self, window, ids):
        window.load(ids)

        assert len({id(row.product_id) for row in window.loaded}) == 1
