import pytest
from django.core.exceptions import ImproperlyConfigured

from ownership.models import owned_models
from sync import registry
from sync.registry import tables


class Fake:
    """A table as far as the order goes."""

    def __init__(self, name: str, *refers_to: str):
        self.name = self.model = name
        self.references = {f"{other}_id": other for other in refers_to}


@pytest.fixture
def ordered(monkeypatch):
    """Return a function that registers tables, and returns their names in the order of `tables()`."""

    def order(*registered: Fake) -> list[str]:
        monkeypatch.setattr(registry, "_registered", registered)
        tables.cache_clear()
        return [table.name for table in tables()]

    yield order
    tables.cache_clear()


class TestTheTables:
    def test_are_one_for_each_model_that_a_device_owns(self):
        assert {table.model for table in tables()} == set(owned_models())

    def test_have_the_names_of_their_database_tables(self):
        assert all(table.name == table.model._meta.db_table for table in tables())

    def test_come_after_those_that_they_refer_to(self, ordered):
        entries = Fake("entries", "products", "portions")

        names = ordered(entries, Fake("portions", "products"), Fake("goals"), Fake("products"))

        assert sorted(names) == ["entries", "goals", "portions", "products"]
        assert names.index("products") < names.index("portions") < names.index("entries")

    def test_can_refer_to_themselves_and_to_models_that_do_not_sync(self, ordered):
        assert ordered(Fake("foods", "foods", "devices")) == ["foods"]

    def test_can_not_refer_to_each_other(self, ordered):
        with pytest.raises(ImproperlyConfigured, match="Tables refer to each other: meals, items"):
            ordered(Fake("goals"), Fake("meals", "items"), Fake("items", "meals"))
