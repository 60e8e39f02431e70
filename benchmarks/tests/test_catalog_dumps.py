from io import BufferedReader, BytesIO

import pytest

from benchmarks.catalog_dumps import Maker
from catalog.food import Food
from catalog.sources import off


@pytest.fixture(scope="module")
def maker():
    return Maker(1)


class TestADump:
    @pytest.mark.parametrize("form", ["csv", "jsonl"])
    def test_has_foods_that_the_import_accepts(self, maker, form):
        lines = list(getattr(maker, form)(first=10, count=200))

        foods = list(off.read(BufferedReader(BytesIO(b"".join(lines)))))
        assert len(foods) == 200
        assert sum(isinstance(food, Food) for food in foods) > 195
        assert len({food.barcode for food in foods if isinstance(food, Food)}) > 195
