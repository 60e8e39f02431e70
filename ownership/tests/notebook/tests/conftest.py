import pytest

from ownership.tests.notebook.models import Line, Note


@pytest.fixture
def note(api) -> dict:
    """A note of the device, as the API returns it."""
    return api.post("/v1/notes", {"title": "Shopping"}).json()


@pytest.fixture
def line(api, note) -> dict:
    """A line of the note."""
    return api.post(f"/v1/notes/{note['id']}/lines", {"text": "Bread"}).json()


@pytest.fixture
def stored_note(note) -> Note:
    return Note.objects.get(pk=note["id"])


@pytest.fixture
def stored_line(line) -> Line:
    return Line.objects.get(pk=line["id"])
