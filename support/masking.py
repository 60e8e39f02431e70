"""Mask the secrets of tokens in a text that a user typed or pasted.

A secret is 43 random characters of base64url. The text is read as groups of such characters, whatever stands between
them; single characters in a row are one group. A group that looks like no word, number, unit, code or hexadecimal id is
strange. Strange groups that are near each other count as a secret if they have 12 characters in upper and lower case.
If fewer than 43 characters lie between the first and the last, the neighbours are masked too, up to that number.

The rule cannot find a secret in groups of two or, rarely, three; one with a sentence between its groups; one that is
spelled in words ("capital A, dash, seven"), reversed or encrypted; nor less than 12 characters of one, or a part in one
case. It misses about 1 in 1,000 secrets in groups of four to seven, if most groups look like words by chance. It masks
some names in camel case, and serial numbers in mixed case, as it would a secret.
"""

import re
import unicodedata
from collections.abc import Iterator
from html import unescape
from urllib.parse import unquote

MASK = "[token]"
SECRET = 43  # characters
SHORTEST = 12  # characters in strange groups; fewer are not masked
NEAR = 24  # letters and digits at most between two strange groups of one secret
LINE_BREAKS = "\r\n\v\f\x85\u2028\u2029"
INVISIBLE = (
    "\u115f\u1160\u2800\u3164"  # letters and a symbol without a glyph, in addition to the categories in `normal_form`
)

ESCAPED = re.compile(
    r"(?:%[0-9a-f]{2})+|&(?:#[0-9]{1,7}|#x[0-9a-f]{1,6}|[a-z]{2,20});|\\u[0-9a-f]{4}|\\x[0-9a-f]{2}", re.I
)
# A run of base64url, or single characters of it one after another.
GROUP = re.compile(r"[A-Za-z0-9_-](?:[^A-Za-z0-9_-]+[A-Za-z0-9_-])*(?![A-Za-z0-9_-])|[A-Za-z0-9_-]+")
TOKEN_BEFORE_SECRET = re.compile(r"(?:\bBearer\s+)?[0-9a-f]{8}(?:-?[0-9a-f]{4}){3}-?[0-9a-f]{12}\s*\.\W*$", re.I)

# A part of a word: "phone", "SMS", "2026", "256GB", "7h30", "12kWh", "SM8", "9f86d0", "iPhone14", "PostgreSQL".
WORD = re.compile(
    r"[A-Z]?[a-z]*|[A-Z]+s?|(?:[0-9]+(?:[a-z]{1,3}|[A-Z]{1,3}|[km][A-Z]h?))*[0-9]*|[A-Z]{1,3}[0-9]{1,4}[A-Z]?"
    r"|[0-9a-f]+|[0-9A-F]+|iOS|macOS|GmbH|SQLite"
    r"|(?:[a-z]{2,}|i|e)?(?:(?:A|[AIO][a-z])?[A-Z][a-z]{2,})+(?:[A-Z]{2,3}|[A-Z][a-z]|[0-9]{1,4})?"
)

# A decoded character, and the start and the end of its spelling in the text.
Character = tuple[str, int, int]


def mask_secrets(text: str) -> str:
    """Return the text with each token, secret, or large part of a secret replaced by MASK."""
    characters = [(character, place, place + 1) for place, character in enumerate(text)]
    for _ in range(3):  # text may be escaped more than once
        characters = unescape_all(normalize(characters))
    characters = normalize(characters)
    meant = "".join(character for character, _, _ in characters)
    next_start = len(characters)
    for start, end in reversed(list(secrets_in(meant))):
        if token := TOKEN_BEFORE_SECRET.search(meant, 0, start):
            start = token.start()
        end = min(end, next_start)  # neighbours may overlap
        if start >= end:
            continue
        next_start = start
        text = text[: characters[start][1]] + MASK + text[characters[end - 1][2] :]
    return text


def normalize(characters: list[Character]) -> list[Character]:
    return [(normal, start, end) for character, start, end in characters for normal in normal_form(character)]


def normal_form(character: str) -> str:
    """Return the NFKC form of a character, or an empty string for an invisible one."""
    category = unicodedata.category(character)
    if character in LINE_BREAKS:
        return "\n"
    if category in ("Cf", "Mn", "Me") or character in INVISIBLE:
        return ""
    return "-" if category == "Pd" else unicodedata.normalize("NFKC", character)


def unescape_all(characters: list[Character]) -> list[Character]:
    """Decode escapes of URLs, HTML and JSON."""
    text = "".join(character for character, _, _ in characters)
    result, at = [], 0
    for match in ESCAPED.finditer(text):
        start, end = characters[match.start()][1], characters[match.end() - 1][2]
        result += characters[at : match.start()]
        html = re.sub(r"^\\[ux](.+)", r"&#x\1;", match[0], flags=re.I)
        result += [(character, start, end) for character in unescape(unquote(html))]
        at = match.end()
    return result + characters[at:]


def secrets_in(text: str) -> Iterator[tuple[int, int]]:
    """Yield the start and the end of each secret, or large part of one."""
    groups = list(GROUP.finditer(text))
    chains: list[list[re.Match]] = []
    for group in groups:
        if not is_word(group[0]):
            if not chains or size(text[chains[-1][-1].end() : group.start()]) > NEAR:
                chains.append([])
            chains[-1].append(group)
    for chain in chains:
        strange = "".join(group[0] for group in chain)
        if size(strange) >= SHORTEST and strange not in (strange.lower(), strange.upper()):
            start, end = chain[0].start(), chain[-1].end()
            missing = SECRET - size(text[start:end])
            before = [group.start() for group in groups if size(text[group.end() : start]) < missing]
            after = [group.end() for group in groups if size(text[end : group.start()]) < missing]
            yield min([start, *before]), max([end, *after])


def size(text: str) -> int:
    """Return how many letters, digits, hyphens and underscores the text has."""
    return sum(character.isalnum() or character in "-_" for character in text)


def is_word(group: str) -> bool:
    return all(WORD.fullmatch(part) for part in re.split("[-_]+", re.sub("[^A-Za-z0-9_-]", "", group)))
