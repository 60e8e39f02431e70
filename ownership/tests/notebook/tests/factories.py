import factory

from ownership.tests.factories import OwnedFactory
from ownership.tests.notebook.models import Line, Note


class NoteFactory(OwnedFactory):
    """Creates notes. Needs a `device`."""

    class Meta:
        model = Note

    title = "Shopping"


class LineFactory(OwnedFactory):
    """Creates lines of the note's device. Without `note` it creates one."""

    class Meta:
        model = Line

    device = factory.LazyAttribute(lambda line: line.note.device)
    note = factory.SubFactory(NoteFactory, device=factory.SelfAttribute("..device"))
    text = "Bread"
