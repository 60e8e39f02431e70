"""Find the secrets of tokens in a text that somebody typed or pasted, in whatever spelling, and leave them out.

A secret is 43 random characters of base64url. No word or id looks like 20 of them: a word is in lower case or capitals,
and an id has hexadecimal digits only.
"""

import re
import unicodedata
from collections.abc import Iterator
from html import unescape
from itertools import groupby
from urllib.parse import unquote

MASK = "[token]"
SHORTEST = 20  # characters of a secret; fewer are not masked
LINE_BREAKS = "\r\n\v\f\x85\u2028\u2029"
INVISIBLE = "\u115f\u1160\u2800\u3164"  # letters and a symbol that show nothing, in addition to what is no letter

ESCAPED = re.compile(r"(?:%[0-9a-f]{2})+|&(?:#[0-9]{1,7}|#x[0-9a-f]{1,6}|[a-z]{2,20});", re.I)
RUN = re.compile(r"[A-Za-z0-9_-]+")
# Runs at the ends and beginnings of lines: a secret that was wrapped, or quoted.
WRAPPED = re.compile(rf"{RUN.pattern}(?:[^\S\n]*[\\=]?\n[\s>|]*{RUN.pattern})*")
TOKEN_BEFORE_SECRET = re.compile(r"(?:\bBearer\s+)?[0-9a-f]{8}(?:-?[0-9a-f]{4}){3}-?[0-9a-f]{12}\s*\.\s*$", re.I)

ID = re.compile(r"[0-9a-f-]{16,}", re.I)
PLAIN = re.compile(r"[A-Z]?[a-z]*|[A-Z]+|[0-9]+")
# A part of a word with hyphens: "phone", "SMS", "2026", "256GB", "SM8", "iPhone14", "WhatsApp", "05T07".
WORD = re.compile(
    r"[A-Z]?[a-z]*|[A-Z]+s?|[0-9]+|[0-9]{1,4}[A-Za-z]{1,3}|[A-Z]{1,3}[0-9]{1,4}[A-Z]?"
    r"|(?:[a-z]{1,3}|[A-Z]{2,3})?(?:[A-Z][a-z]{2,})+[0-9]{0,4}|[0-9]{2}T[0-9]{2}"
)

# A character as it is meant, and the first and the last place in the text that stand for it.
Character = tuple[str, int, int]


def masked(text: str) -> str:
    """Return the text with a mask for each token, secret, or large part of a secret; all else is left as it is."""
    characters = [(character, place, place + 1) for place, character in enumerate(text)]
    for _ in range(3):  # something may be escaped twice
        characters = unescaped(normalized(characters))
    characters = normalized(characters)
    meant = "".join(character for character, _, _ in characters)
    for start, end in reversed(list(secrets_in(meant))):
        if token := TOKEN_BEFORE_SECRET.search(meant, 0, start):
            start = token.start()
        text = text[: characters[start][1]] + MASK + text[characters[end - 1][2] :]
    return text


def normalized(characters: list[Character]) -> list[Character]:
    return [(normal, start, end) for character, start, end in characters for normal in normal_form(character)]


def normal_form(character: str) -> str:
    """Return the characters that one stands for: the usual form of a wide letter, none for one that is invisible."""
    category = unicodedata.category(character)
    if character in LINE_BREAKS:
        return "\n"
    if category in ("Cf", "Mn", "Me") or character in INVISIBLE:
        return ""
    return "-" if category == "Pd" else unicodedata.normalize("NFKC", character)


def unescaped(characters: list[Character]) -> list[Character]:
    """Replace what is escaped as in a URL or in HTML."""
    text = "".join(character for character, _, _ in characters)
    result, at = [], 0
    for match in ESCAPED.finditer(text):
        start, end = characters[match.start()][1], characters[match.end() - 1][2]
        result += characters[at : match.start()]
        result += [(character, start, end) for character in unescape(unquote(match[0]))]
        at = match.end()
    return result + characters[at:]


def secrets_in(text: str) -> Iterator[tuple[int, int]]:
    """Yield where each secret, or large part of one, begins and ends."""
    for wrapped in WRAPPED.finditer(text):
        runs = list(RUN.finditer(text, wrapped.start(), wrapped.end()))
        for is_id, group in groupby(runs, lambda run: bool(ID.fullmatch(run[0]))):
            parts = [] if is_id else list(group)
            while parts and PLAIN.fullmatch(parts[0][0]):
                del parts[0]
            while parts and PLAIN.fullmatch(parts[-1][0]):
                del parts[-1]
            if sum(len(part[0]) for part in parts) >= SHORTEST and not all(is_word(part[0]) for part in parts):
                yield parts[0].start(), parts[-1].end()


def is_word(run: str) -> bool:
    return all(WORD.fullmatch(part) for part in re.split("[-_]+", run))
