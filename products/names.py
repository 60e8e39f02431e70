"""How names are compared: without regard to case or accents, in any script, the same on every database."""

import unicodedata

from django.db import models

# Canonical combining classes of what combines, but is a letter's part or a vowel, without which a word is another word:
# viramas (9), and vowel signs and length marks of Telugu (84, 91), Thai (103), Lao (118) and Tibetan (129, 130, 132).
LETTERS = {9, 84, 91, 103, 118, 129, 130, 132}


def name_key(name: str) -> str:
    """Return what two names share that differ only in case or accents: NFD without marks, case-folded.

    One character can become several: `ß` is `ss`, a Hangul syllable its letters.
    Source of the classes: Unicode Standard Annex 44, table 15.
    """
    # Folding can bring a mark of its own: `İ` becomes `i` and a dot above.
    decomposed = unicodedata.normalize("NFD", unicodedata.normalize("NFD", name).casefold())
    return "".join(character for character in decomposed if not is_mark(character))


def is_mark(character: str) -> bool:
    """Say whether a character is an accent, or a variation selector, which picks a glyph."""
    if character < "\u0300":
        return False
    selects = "\ufe00" <= character <= "\ufe0f" or "\U000e0100" <= character <= "\U000e01ef"
    return selects or unicodedata.combining(character) not in {0, *LETTERS}


class NameKeyField(models.TextField):
    """The key of the row's name, kept beside it by every save, ordered by code point.

    SQLite orders so anyway; on PostgreSQL it takes the collation `C`, since the database's own differs from SQLite's
    and from server to server. Django's `db_collation` would say the same to both.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs | {"editable": False})

    def deconstruct(self):
        name, path, args, kwargs = super().deconstruct()
        del kwargs["editable"]
        return name, path, args, kwargs

    def db_parameters(self, connection) -> dict:
        parameters = super().db_parameters(connection)
        return parameters | {"collation": "C" if connection.vendor == "postgresql" else None}

    def pre_save(self, model_instance, add) -> str:
        key = name_key(model_instance.name)
        setattr(model_instance, self.attname, key)
        return key
