import pytest

from food_entries.models import FoodEntry
from ownership.models import owned_models
from products.models import Portion, Product
from tests.project.completeness import missing_parts


class TestEveryOwnedModel:
    def test_is_found(self):
        assert set(owned_models()) >= {Product, Portion, FoodEntry}

    @pytest.mark.parametrize("model", owned_models(), ids=lambda model: model._meta.label)
    def test_lacks_nothing(self, support_group, model):
        missing = missing_parts(model)

        assert not missing, f"{model._meta.label} lacks {'; '.join(missing)}"
