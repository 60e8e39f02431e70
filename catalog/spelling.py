"""Find the word that was meant by a word with a typing error.

The errors are one letter too many, too few or wrong, two letters in the wrong order, and double letters. Words are
compared without double letters: each stored word has such a squeezed form, which is looked up by all forms that are one
error away.
"""

import re
from collections.abc import Collection

import orjson
from django.db import connection

MIN_LENGTH = 4  # of a word with an error
MAX_LENGTH = 24
LONG_WORD = 6  # letters, from which a word may have two errors
MORE_FOODS = 50  # a word that foods have is replaced by one that this many times as many foods have
KNOWN = 100  # foods that have a word which is no error, if the search found foods
MAX_CORRECTED = 5  # words of one search

ALPHABETS = tuple(
    "".join(map(chr, range(first, last + 1)))
    for first, last in ((ord("a"), ord("z")), (0x3B1, 0x3C9), (0x430, 0x45F), (0x5D0, 0x5EA), (0x621, 0x64A))
)
DOUBLE = re.compile(r"(.)\1+")


def squeeze(word: str) -> str:
    """Return the word with one letter for each double letter."""
    return DOUBLE.sub(r"\1", word)


def has_letters_only(word: str) -> bool:
    return len(word) <= MAX_LENGTH and word.isalpha()


def corrections(words: Collection[str], *, is_found: bool) -> dict[str, str]:
    """Return the words that were probably meant, by the words that were typed.

    If the search found foods, a word is only replaced by a much more frequent one. If it found none, unknown words are
    replaced, or the rarest one if all are known.
    """
    wrong = [word for word in words if len(word) >= MIN_LENGTH and has_letters_only(word)][:MAX_CORRECTED]
    foods_of = {word: foods for word, _, foods in stored_spellings({squeeze(word) for word in wrong})} if wrong else {}
    if is_found:
        wrong = [word for word in wrong if foods_of.get(word, 0) < KNOWN]
    else:
        unknown = [word for word in wrong if word not in foods_of]
        wrong = unknown or sorted(wrong, key=foods_of.get)[:1]
    forms = {word: forms_of(squeeze(word)) for word in wrong}
    spellings = stored_spellings(set().union(*forms.values())) if forms else []
    found = {}
    for word in wrong:
        limit = MORE_FOODS * foods_of.get(word, 1) if is_found else 1
        candidates = [
            (errors, -foods, meant)
            for meant, squeezed, foods in spellings
            if foods >= limit
            and squeezed in forms[word]
            and meant != word
            and (errors := distance(word, meant)) <= 1 + (len(word) >= LONG_WORD)
        ]
        if candidates:
            found[word] = min(candidates)[2]
    return found


def stored_spellings(squeezed: Collection[str]) -> list[tuple[str, str, int]]:
    """Return words with their squeezed forms and their numbers of foods."""
    forms = sorted(squeezed)
    if connection.vendor == "postgresql":
        sql, param = "SELECT word, squeezed, foods FROM catalog_spellings WHERE squeezed = ANY(%s)", forms
    else:
        sql = "SELECT word, squeezed, foods FROM catalog_spellings WHERE squeezed IN (SELECT value FROM json_each(%s))"
        param = orjson.dumps(forms).decode()
    return connection.fetch_cached(sql, [param])


def forms_of(word: str) -> set[str]:
    """Return the squeezed word and all forms that are one error away, squeezed too."""
    alphabet = next((letters for letters in ALPHABETS if word[0] in letters), "")
    forms = {word}
    for place in range(len(word) + 1):
        start, end = word[:place], word[place:]
        forms.add(squeeze(start + end[1:]))
        forms.add(squeeze(start + end[1:2] + end[:1] + end[2:]))
        for letter in alphabet:
            if letter not in (start[-1:], end[:1]):  # it would make a double letter
                forms.add(start + letter + end)
                if letter != end[1:2]:
                    forms.add(start + letter + end[1:])
    return forms


def distance(one: str, other: str) -> int:
    """Return how many errors are between two words (the optimal string alignment distance)."""
    before, row = [], list(range(len(other) + 1))
    for i, a in enumerate(one):
        before, last, row = row, before, [i + 1]
        for j, b in enumerate(other):
            errors = min(before[j + 1] + 1, row[j] + 1, before[j] + (a != b))
            if i and j and a == other[j - 1] and one[i - 1] == b:
                errors = min(errors, last[j - 1] + 1)
            row.append(errors)
    return row[-1]
