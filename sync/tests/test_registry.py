import pytest
from django.core.exceptions import ImproperlyConfigured

from ownership.models import owned_models
from sync import registry
from sync.registry import tables


class FakeTable:
    """A table with only the attributes that `tables()` reads."""

    def __init__(self, name: str, *refers_to: str):
        self.name = self.model = name
        self.references = {f"{other}_id": other for other in refers_to}


@pytest.fixture
def ordered(monkeypatch):
    """Return a function that registers tables, and returns their names in the order of `tables()`."""

    def order(*registered: FakeTable) -> list[str]:
        monkeypatch.setattr(registry, "_registered", registered)
        tables.cache_clear()
        return [table.name for table in tables()]

    yield order
    tables.cache_clear()


class TestTables:
    def test_exist_for_each_device_owned_model(self):
        assert {table.model for table in tables()} == set(owned_models())

    def test_have_the_names_of_their_database_tables(self):
        assert all(table.name == table.model._meta.db_table for table in tables())

    def test_are_sorted_by_their_references(self, ordered):
        entries = FakeTable("entries", "products", "portions")

        names = ordered(entries, FakeTable("portions", "products"), FakeTable("goals"), FakeTable("products"))

        assert sorted(names) == ["entries", "goals", "portions", "products"]
        assert names.index("products") < names.index("portions") < names.index("entries")

    def test_can_refer_to_themselves_and_to_unsynced_models(self, ordered):
        assert ordered(FakeTable("foods", "foods", "devices")) == ["foods"]

    def test_can_not_refer_to_each_other(self, ordered):
        with pytest.raises(ImproperlyConfigured, match="Tables refer to each other: meals, items"):
            ordered(FakeTable("goals"), FakeTable("meals", "items"), FakeTable("items", "meals"))
