import pytest

from ownership.models import owned_models
from tests.project.completeness import lacking


class TestEveryOwnedModel:
    @pytest.mark.parametrize("model", owned_models(), ids=lambda model: model._meta.label)
    def test_lacks_nothing(self, support_group, model):
        missing = lacking(model)

        assert not missing, f"{model._meta.label} lacks {'; '.join(missing)}"
