"""How names are compared: without regard to case or accents, in any script, the same on every database."""

import unicodedata

from django.db import models
from django.db.models.functions import StrIndex

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


def part_key(text: str) -> str:
    """Return the key of a text that is searched for in names, cut where it is longer than any name's key can be.

    Then it matches none anyway: a name has at most 100 characters, and none of them becomes more than 10.
    """
    return name_key(text)[:1001]


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


class Position(StrIndex):
    """Where a text begins in another one; 0 if it is not in it.

    PostgreSQL's STRPOS is fast for short parts. But at each place it may compare almost the whole part, byte by byte: a
    `t` and 150 `s`, in 200 `s`. So longer parts are compared as bytes, which is many at a time. Both find the same: in
    UTF-8 no character begins in the middle of another one.
    """

    def as_postgresql(self, compiler, connection, **context) -> tuple[str, list]:
        (text, text_params), (part, part_params) = map(compiler.compile, self.get_source_expressions())
        sql = (
            f"CASE WHEN octet_length({part}) BETWEEN 33 AND octet_length({text})"
            f" THEN position(convert_to({part}, 'UTF8') in convert_to({text}, 'UTF8')) ELSE strpos({text}, {part}) END"
        )
        params = [*part_params, *text_params, *part_params, *text_params, *text_params, *part_params]
        return sql, params
