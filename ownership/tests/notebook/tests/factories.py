import factory

from ownership.tests.factories import OwnedFactory
from ownership.tests.notebook.models import Line, Note


class NoteFactory(OwnedFactory):
    """A note. Needs a `device`."""

    class Meta:
        model = Note

    title = "Shopping"


class LineFactory(OwnedFactory):
    """A line. Its note, unless given, is new; it belongs to the note's device."""

    class Meta:
        model = Line

    device = factory.LazyAttribute(lambda line: line.note.device)
    note = factory.SubFactory(NoteFactory, device=factory.SelfAttribute("..device"))
    text = "Bread"
