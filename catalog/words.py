"""Split names and search texts into words, with the same result on every database.

A name and a search text go through the same steps, so a search finds what was typed in another case, number or script.
If they change, the words that are stored no longer match: import the data again.
"""

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache

from nutrition.names import name_key

MAX_WORDS = 60  # of one name
DECIMAL_COMMA = re.compile(r"(?<=[0-9]),(?=[0-9])")
OTHER_POINT = re.compile(r"(?<![0-9])\.|\.(?![0-9])")
ASCII_WORD = re.compile(r"[a-z0-9.]+")
# Scripts without spaces between words: Thai, Lao, Myanmar, Khmer, kana, and Han with its radicals and extensions.
WITHOUT_SPACES = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u2fdf\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
RUN = re.compile(f"[{WITHOUT_SPACES}]+|[^{WITHOUT_SPACES}]+")
IS_WITHOUT_SPACES = re.compile(f"[{WITHOUT_SPACES}]")
IES = re.compile(r"(?<=[a-z]{2})(?:ies?|(?<![aeiou])y)$")  # berry, berries; cookie, cookies
ES = re.compile(r"(?<=ch|sh|ss|zz|[a-z]x|[a-z]o)es?$")  # peach, peaches; potato, potatoes

# Words of British English and other variants, and what replaces them in names and in search texts.
VARIANTS = {
    "aubergine": "eggplant",
    "beetroot": "beet",
    "brinjal": "eggplant",
    "broadbean": "broad bean",
    "capsicum": "pepper",
    "catsup": "ketchup",
    "chile": "chili",
    "chilli": "chili",
    "cornflakes": "corn flakes",
    "cornflour": "cornstarch",
    "courgette": "zucchini",
    "donut": "doughnut",
    "fibre": "fiber",
    "filet": "fillet",
    "gelatine": "gelatin",
    "groundnut": "peanut",
    "hotdog": "hot dog",
    "icecream": "ice cream",
    "linseed": "flaxseed",
    "lowfat": "low fat",
    "maize": "corn",
    "mayo": "mayonnaise",
    "minced": "ground",
    "nonfat": "non fat",
    "oatmeal": "oats",
    "omelette": "omelet",
    "pawpaw": "papaya",
    "porridge": "oats",
    "prawn": "shrimp",
    "rockmelon": "cantaloupe",
    "skimmed": "skim",
    "soya": "soy",
    "soymilk": "soy milk",
    "sultana": "raisin",
    "swede": "rutabaga",
    "treacle": "molasses",
    "whisky": "whiskey",
    "wholegrain": "whole grain",
    "wholemeal": "whole wheat",
    "wholewheat": "whole wheat",
    "yoghourt": "yogurt",
    "yoghurt": "yogurt",
}


class Separators(dict):
    """A table for `str.translate()` that replaces each character that is no letter, digit or mark with a space."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        self[code] = character if unicodedata.category(character)[0] in "LMN" or character == "." else " "
        return self[code]


SEPARATORS = Separators()


def split(text: str, *, is_search: bool = False) -> list[str]:
    """Return the words of a text as they are written: no case, no accents, no apostrophes."""
    key = name_key(text).replace("'", "")
    if "," in key:
        key = DECIMAL_COMMA.sub(".", key)
    if "." in key:
        key = OTHER_POINT.sub(" ", key)
    if key.isascii():  # the same, but faster
        return ASCII_WORD.findall(key)
    words = []
    for word in key.translate(SEPARATORS).split():
        if word.isascii() or not IS_WITHOUT_SPACES.search(word):
            words.append(word)
        else:
            for run in RUN.findall(word):
                words += pairs(run, is_search=is_search) if IS_WITHOUT_SPACES.match(run) else [run]
    return words


def pairs(run: str, *, is_search: bool) -> list[str]:
    """Return the overlapping pairs of characters. Those of a name end with its last character alone.

    So each character of a name begins a word, and a search for one character finds the words that begin with it.
    """
    run = unicodedata.normalize("NFC", run)  # kana with their voicing marks
    return [run[place : place + 2] for place in range(max(1, len(run) - is_search))]


def singular(word: str) -> str:
    """Return the form that the singular and the plural of an English word share. It need not be a word itself."""
    if len(word) < 4 or not word.isascii():
        return word
    if word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-1]
    return ES.sub("", IES.sub("i", word)) if len(word) > 3 else word


CANONICAL = {singular(variant): tuple(singular(word) for word in words.split()) for variant, words in VARIANTS.items()}


@lru_cache(maxsize=50_000)  # an import has the same words again and again
def canonical(word: str) -> tuple[str, ...]:
    """Return the words by which a word is stored and found."""
    form = singular(word)
    return CANONICAL.get(form) or (form,)


def words_of(*texts: str | None) -> list[str]:
    """Return the words of a food's texts, each once, in their order."""
    words = []
    for text in filter(None, texts):
        for raw in split(text):
            words += canonical(raw)
    return unique(words)[:MAX_WORDS]


def unique(words: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(words))
