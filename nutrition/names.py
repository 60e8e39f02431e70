"""Compare names, ignoring case and accents, in any script, with the same result on every database."""

import unicodedata

from django.db import models
from django.db.models.functions import StrIndex

# Canonical combining classes of marks that are not accents. Without these marks, a word becomes another word: viramas
# (9), and vowel signs and length marks of Telugu (84, 91), Thai (103), Lao (118) and Tibetan (129, 130, 132).
LETTER_CLASSES = {9, 84, 91, 103, 118, 129, 130, 132}


def name_key(name: str) -> str:
    """Return the key of a name: case-folded NFD without accents. Names that differ only in case or accents share it.

    One character can become several: `ß` becomes `ss`, and a Hangul syllable becomes its letters.
    The combining classes are in Unicode Standard Annex 44, table 15.
    """
    # Normalize again after case folding, which can add a mark: `İ` becomes `i` and a dot above.
    decomposed = unicodedata.normalize("NFD", unicodedata.normalize("NFD", name).casefold())
    return "".join(character for character in decomposed if not is_mark(character))


def search_key(text: str) -> str:
    """Return the key of a search text, cut to 1,001 characters.

    A key that long matches no name: names have at most 100 characters, and each becomes at most 10.
    """
    return name_key(text)[:1001]


def is_mark(character: str) -> bool:
    """Return whether a character is an accent or a variation selector."""
    if character < "\u0300":
        return False
    is_selector = "\ufe00" <= character <= "\ufe0f" or "\U000e0100" <= character <= "\U000e01ef"
    return is_selector or unicodedata.combining(character) not in {0, *LETTER_CLASSES}


class NameKeyField(models.TextField):
    """The key of the row's `name`, computed on every save and ordered by code point.

    SQLite orders by code point by default. PostgreSQL needs the collation `C`, because its default collation depends
    on the server. Django's `db_collation` can't be used: it would set the same collation on both databases.
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
    """The position of a part in a text, counted from 1; 0 if the text does not contain it.

    PostgreSQL's STRPOS is slow for long parts in the worst case: at each position it may compare almost the whole part,
    one byte after another (search for `t` and 150 `s` in 200 `s`). So parts of more than 32 bytes are compared as
    `bytea`, many bytes at a time. That position counts bytes, but it is 0 for the same texts: in UTF-8, no character
    begins in the middle of another one.
    """

    def as_postgresql(self, compiler, connection, **context) -> tuple[str, list]:
        (text, text_params), (part, part_params) = map(compiler.compile, self.get_source_expressions())
        sql = (
            f"CASE WHEN octet_length({part}) BETWEEN 33 AND octet_length({text})"
            f" THEN position(convert_to({part}, 'UTF8') in convert_to({text}, 'UTF8')) ELSE strpos({text}, {part}) END"
        )
        params = [*part_params, *text_params, *part_params, *text_params, *text_params, *part_params]
        return sql, params
