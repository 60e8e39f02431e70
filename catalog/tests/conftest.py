import pytest

from catalog import etags


@pytest.fixture(autouse=True)
def _new_state(monkeypatch):
    """Forget the state of the catalogue of earlier tests."""
    monkeypatch.setattr(etags, "state", etags.CatalogState())
