"""Search foods by name: the same foods in the same order on PostgreSQL and SQLite.

A search looks into one tier after the other, for whole words before beginnings of words, until it has enough foods. So
it never ranks all foods that have a common word. An index reads all foods that have the beginning of a word, which are
many in the last tier. So if another word is rare, the index finds the foods that have the other words, and the
beginning is compared with their words.
"""

from functools import cache
from itertools import islice, product
from typing import NamedTuple
from uuid import UUID

import orjson
from django.db import connection

from catalog.models import REST, TIERS
from catalog.reading import finished_releases
from catalog.sources import OFF
from catalog.spelling import corrections, has_letters_only, squeeze, stored_spellings
from catalog.words import canonical, split, unique

NO_PREFIX = " "  # no word begins with it
RARE = 150  # generic or popular foods. A word that no more of them have is in a few thousand others at most.

# Each tier has an index of its own, so the tier is a literal.
POSTGRESQL = """
SELECT uuid FROM catalog_foods
WHERE tier = {tier} AND array_to_tsvector(string_to_array(words, ' ')) @@ %s::tsquery AND strpos(' ' || words, %s) > 0
ORDER BY (first = ANY(%s) OR starts_with(first, %s)) DESC, (lang IS NOT DISTINCT FROM %s) DESC, weight DESC, uuid
LIMIT %s
"""
SQLITE = """
SELECT uuid FROM catalog_words_{tier} JOIN catalog_foods ON serial = catalog_words_{tier}.rowid
WHERE catalog_words_{tier} MATCH %s AND instr(' ' || catalog_foods.words, %s) > 0
ORDER BY (first IN (SELECT value FROM json_each(%s)) OR instr(first, %s) = 1) DESC, (lang IS %s) DESC, weight DESC, uuid
LIMIT %s
"""


class Query(NamedTuple):
    words: list[str]  # as they are stored
    before_last: list[str]
    last: str  # the last word as it was typed: it may be the beginning of a word

    @classmethod
    def parse(cls, text: str) -> "Query":
        typed = split(text, is_search=True)
        stored = [canonical(word) for word in typed]
        return cls(
            words=unique(word for words in stored for word in words),
            before_last=unique(word for words in stored[:-1] for word in words),
            last=typed[-1] if typed else "",
        )

    def corrected(self, *, is_found: bool) -> "Query | None":
        """Return the query without typing errors, or None if there are none."""
        meant = corrections(self.words, is_found=is_found)
        if not meant:
            return None
        words = unique(meant.get(word, word) for word in self.words)
        before_last = unique(meant.get(word, word) for word in self.before_last)
        is_last_wrong = any(word in meant for word in canonical(self.last))
        return Query(words, before_last, "" if is_last_wrong else self.last)


def search(text: str, lang: str | None, limit: int) -> list[str]:
    """Return the ids of the first `limit` foods that match, best match first."""
    query = Query.parse(text)
    if not query.words:
        return []
    hits = find(query, lang, limit)
    if len(hits) < limit or first_tier(hits) == REST:
        corrected = query.corrected(is_found=bool(hits))
        if corrected is not None:
            others = find(corrected, lang, limit)
            hits = others | hits if first_tier(others) < REST <= first_tier(hits) else hits | others
    return [str(UUID(food_id)) for food_id in islice(hits, limit)]


def first_tier(hits: dict[str, int]) -> int:
    """Return the tier of the best match. It is the same for each limit, so that pages are parts of one order."""
    return next(iter(hits.values()), REST + 1)


def find(query: Query, lang: str | None, limit: int) -> dict[str, int]:
    """Return the tiers of foods by their ids, best match first."""
    found: dict[str, int] = {}
    for tier, is_prefix in steps(lang):
        if len(found) >= limit:
            break
        beginning = ""  # not found by the index
        if not is_prefix:
            match = match_of(query.words)
        elif len(query.last) <= tier:
            continue
        elif tier == REST and is_one_rare(query.before_last):
            match, beginning = match_of(query.before_last), f" {query.last}"
        else:
            match = match_of(query.before_last, query.last)
        params = [match, beginning, as_list(query.words), query.last or NO_PREFIX, lang or "", limit]
        for (food_id,) in connection.fetch_cached(step_sql(tier), params):
            if len(found) < limit:
                found.setdefault(str(food_id), tier)
    return found


def is_one_rare(words: list[str]) -> bool:
    """Return whether few foods of the last tier have one of the words.

    This is estimated from the other tiers. Before the first import ends, which ranks foods, all are in the last tier.
    """
    counted = {word for word in words if has_letters_only(word)}
    if not counted or not finished_releases.json_tuples(source=OFF.name, limit=1):
        return False
    frequent = {word for word, _, foods in stored_spellings({squeeze(word) for word in counted}) if foods > RARE}
    return not counted <= frequent


def steps(lang: str | None) -> list[tuple[int, bool]]:
    """Return the tiers to search, and whether the last word may be the beginning of a word.

    Generic foods have English names. In another language, whole words come first: Swedish `ost` is cheese, not ostrich.
    """
    if lang in (None, "en"):
        return [*product(TIERS, (False, True))]
    return [(tier, is_prefix) for is_prefix in (False, True) for tier in TIERS]


@cache
def step_sql(tier: int) -> str:
    return (POSTGRESQL if connection.vendor == "postgresql" else SQLITE).format(tier=tier)


def match_of(words: list[str], prefix: str = "") -> str:
    """Return the expression that all words match. Words have letters, digits, marks and points only."""
    if connection.vendor == "postgresql":
        terms = [*(f"'{word}'" for word in words), *([f"'{prefix}':*"] if prefix else [])]
        return " & ".join(terms)
    terms = [*(f'"{word}"' for word in words), *([f'"{prefix}" *'] if prefix else [])]
    return " AND ".join(terms)


def as_list(words: list[str]) -> list[str] | str:
    return words if connection.vendor == "postgresql" else orjson.dumps(words).decode()
