"""Compare names, ignoring case, accents and typography, in any script, with the same result on every database."""

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache

from django.db import models
from django.db.models import Lookup, Value
from django.db.models.functions import StrIndex
from django.db.models.lookups import GreaterThan

from countonme.db.compiled import Param

KEY_LENGTH = 500  # characters; PostgreSQL can't index a text of more than 2,704 bytes
SEARCH_PARTS = 8  # words of a search text that are found in any order

# Canonical combining classes of marks that are not accents. Without these marks, a word becomes another word: voicing
# marks of kana (8), viramas (9), and vowel signs and length marks of Telugu (84, 91), Thai (103), Lao (118) and Tibetan
# (129, 130, 132).
LETTER_CLASSES = {8, 9, 84, 91, 103, 118, 129, 130, 132}

# Characters that look or sound alike, each with the one that replaces it in a key. They have no decomposition, and the
# names of the letters don't say what people type instead.
REPLACED = {
    **dict.fromkeys("'`´‘’‛′‵ʹʻʼʽˈˊˋ՚׳ꞌ᾽᾿", "'"),
    **dict.fromkeys('"“”„‟«»″״', '"'),
    **dict.fromkeys("−⁃", "-"),
    **dict.fromkeys("⁄∕", "/"),
    "ð": "d",
    "þ": "th",
    "ŋ": "n",
    "ə": "e",
    "ĸ": "k",
}
BEFORE_DECOMPOSING = str.maketrans(REPLACED)  # NFKD makes a space and an accent of `´`
# Characters without a shape of their own, apart from those of the category Cf. The tatweel stretches an Arabic word.
INVISIBLE = re.compile("[\u034f\u0640\u115f\u1160\u17b4\u17b5\u180b-\u180f\ufe00-\ufe0f\U000e0100-\U000e01ef]")
# What the Unicode names of letters such as `LATIN SMALL LETTER L WITH STROKE` and `LATIN SMALL LIGATURE OE` consist of.
LETTER_NAME = re.compile(
    r"((?:LATIN|CYRILLIC) SMALL (?:LETTER|LIGATURE)) (?:BARRED |DOTLESS |OPEN )?(.+?)(?: WITH .+)?"
)
LATIN_NAME = re.compile("LATIN SMALL (?:LETTER|LIGATURE) ([A-Z]{1,2})")


def name_key(name: str) -> str:
    """Return the key of a name, cut to 500 characters. Names that differ only in how they are written share it.

    The key has no case, no accents and no strokes. Ligatures, full-width forms and other compatibility characters are
    written out. Apostrophes, quotation marks and hyphens each have one form, and one space separates two words. One
    character can become up to 18. A name that consists only of accents keeps them.
    """
    if name.isascii():
        key = join_words(name.replace("`", "'").lower())
    else:
        # As Unicode's NFKC_Casefold: twice, because each step can produce characters that the other one changes.
        decomposed = decompose(decompose(name.translate(BEFORE_DECOMPOSING)))
        key = join_words("".join(map(fold_character, decomposed))) or join_words(decomposed)
    return key[:KEY_LENGTH].rstrip()


def join_words(text: str) -> str:
    return " ".join(text.split())


def decompose(text: str) -> str:
    return unicodedata.normalize("NFKD", text.casefold())


@lru_cache(maxsize=4096)
def fold_character(character: str) -> str:
    """Return what a character becomes in a key, after case folding and decomposition."""
    if character in REPLACED:
        return REPLACED[character]
    if character < "\u0080":
        return character
    category = unicodedata.category(character)
    is_accent = unicodedata.combining(character) not in {0, *LETTER_CLASSES}
    if is_accent or category == "Cf" or INVISIBLE.match(character):
        return ""
    return "-" if category == "Pd" else base_letters(character)


def base_letters(character: str) -> str:
    """Return a Latin or Cyrillic letter without its stroke, hook or tail, and a ligature as two letters."""
    named = LETTER_NAME.fullmatch(unicodedata.name(character, ""))
    if named is None:
        return character
    base_name = " ".join(named.groups())
    if latin := LATIN_NAME.fullmatch(base_name):
        return latin[1].lower()
    try:
        base = unicodedata.lookup(base_name)
    except KeyError:  # there is no such letter without the stroke
        return character
    return character if base == character else "".join(map(fold_character, decompose(base)))


def search_parts(text: str) -> list[str]:
    """Return the parts of a search text, which a name must all contain: at most 8, and none if the text is blank.

    The parts are the words. If there are more than 8, the last part is all words from the eighth on. The text is cut,
    so that a long one is folded quickly: no name has so many characters.
    """
    words = list(dict.fromkeys(name_key(text[:KEY_LENGTH]).split()))
    last = words[SEARCH_PARTS - 1 :]
    return [*words[: SEARCH_PARTS - 1], " ".join(last)] if last else words


def contains_parts(column: str, parts: Iterable) -> list[Lookup]:
    """Return the conditions that a column of keys contains each part of a search text. A part may be a Param.

    Not LIKE: the text may contain its wildcards, and SQLite limits the length of a pattern.
    """
    return [GreaterThan(Position(column, part if isinstance(part, Param) else Value(part)), 0) for part in parts]


class NameKeyField(models.TextField):
    """The key of the row's `name`, or of another column, computed on every save and ordered by code point.

    SQLite orders by code point by default. PostgreSQL needs the collation `C`, because its default collation depends
    on the server. Django's `db_collation` can't be used: it would set the same collation on both databases.
    """

    def __init__(self, *args, of: str = "name", **kwargs):
        self.of = of
        super().__init__(*args, **kwargs | {"editable": False})

    def deconstruct(self):
        name, path, args, kwargs = super().deconstruct()
        del kwargs["editable"]
        if self.of != "name":
            kwargs["of"] = self.of
        return name, path, args, kwargs

    def db_parameters(self, connection) -> dict:
        parameters = super().db_parameters(connection)
        return parameters | {"collation": "C" if connection.vendor == "postgresql" else None}

    def pre_save(self, model_instance, add) -> str | None:
        name = getattr(model_instance, self.of)
        key = None if name is None else name_key(name)
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
