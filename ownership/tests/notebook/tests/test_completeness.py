import pytest
from django.contrib import admin

from ownership.tests.notebook.models import Line, Note
from sync import registry
from sync.registry import tables
from tests.project import completeness
from tests.project.completeness import missing_parts

DOCS = {
    Note: "a line for `notes` among the tables of sync in docs/api.md",
    Line: "a line for `lines` among the tables of sync in docs/api.md",
}


@pytest.fixture
def forgotten(monkeypatch, settings, support_group):
    """Remove everything that belongs to notes and lines, except their models."""
    others = [table for table in tables() if table.model not in (Note, Line)]
    monkeypatch.setattr(registry, "_registered", others)
    tables.cache_clear()
    for model in (Note, Line):
        monkeypatch.delitem(admin.site._registry, model)
    support_group.permissions.clear()
    settings.ROOT_URLCONF = "countonme.urls"
    monkeypatch.delattr(Note, "quota_setting")
    del settings.MAX_LINES
    yield
    tables.cache_clear()


class TestNotebook:
    @pytest.mark.parametrize("model", [Note, Line])
    def test_lacks_only_a_line_in_the_docs(self, support_group, model):
        assert missing_parts(model) == [DOCS[model]]


class TestIncompleteModel:
    def test_is_reported_with_all_that_is_missing(self, forgotten):
        assert missing_parts(Note) == [
            "a table in notebook/sync_tables.py",
            "an OwnedAdmin in notebook/admin.py",
            "a route to a viewset of Note in notebook/urls.py, which countonme/urls.py lists",
            "a route to restore a Note in notebook/urls.py",
            "let_support_correct('notebook.Note') in a migration",
            "a `quota_setting` of Note",
            DOCS[Note],
        ]

    def test_is_reported_without_its_setting(self, forgotten):
        assert "the setting MAX_LINES" in missing_parts(Line)

    def test_is_reported_if_it_comes_before_a_model_that_it_refers_to(self, monkeypatch, support_group):
        monkeypatch.setattr(completeness, "owned_models", lambda: [Line, Note])

        assert missing_parts(Line) == [DOCS[Line], "a place after Note, to which it refers"]
