"""How names are compared: without regard to case or accents, in any script, the same on every database."""

import unicodedata

from django.db import models


def name_key(name: str) -> str:
    """Return what two names share that differ only in case or accents: NFD without marks, case-folded.

    A mark is a character that combines with the one before it (combining class above 0) or picks its glyph
    (a variation selector). The vowel signs of Indic scripts and of Thai are none: without them a word is another word.
    One character can become several: `ß` is `ss`, a Hangul syllable its letters.
    """
    # Folding can bring a mark of its own: `İ` becomes `i` and a dot above.
    decomposed = unicodedata.normalize("NFD", unicodedata.normalize("NFD", name).casefold())
    return "".join(c for c in decomposed if not (unicodedata.combining(c) or "\ufe00" <= c <= "\ufe0f"))


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
