"""A simple model of the search: plain Python over all foods, without a database and without indexes."""

from dataclasses import dataclass
from uuid import UUID

from catalog.words import canonical, split


@dataclass
class Row:
    """A stored food."""

    uuid: UUID
    words: list[str]
    first: str
    lang: str | None
    tier: int | None
    weight: int


def search(rows: list[Row], text: str, lang: str | None, limit: int, meant) -> list[str]:
    """Return the ids of the first foods. `meant` returns the corrections of words with typing errors."""
    typed = list(split(text, is_search=True))
    if not typed:
        return []
    words = [word for each in typed for word in canonical(each)]
    before = [word for each in typed[:-1] for word in canonical(each)]
    found = find(rows, words, before, typed[-1], lang, limit)
    best = found[0].tier if found else 3
    if len(found) < limit or best == 2:
        corrections = meant(list(dict.fromkeys(words)), is_found=bool(found))
        if corrections:
            is_last_wrong = any(word in corrections for word in canonical(typed[-1]))
            others = find(
                rows,
                [corrections.get(word, word) for word in words],
                [corrections.get(word, word) for word in before],
                "" if is_last_wrong else typed[-1],
                lang,
                limit,
            )
            is_better = best >= 2 and others and others[0].tier < 2
            found = others + found if is_better else found + others
    return list(dict.fromkeys(str(row.uuid) for row in found))[:limit]


def find(rows: list[Row], words: list[str], before: list[str], last: str, lang: str | None, limit: int) -> list[Row]:
    def order(row: Row) -> tuple:
        is_first = row.first in words or (last != "" and row.first.startswith(last))
        return (not is_first, row.lang != lang or lang is None, -row.weight, row.uuid)

    def whole(tier: int) -> list[Row]:
        return [row for row in rows if row.tier == tier and set(words) <= set(row.words)]

    def prefix(tier: int) -> list[Row]:
        if len(last) <= tier:
            return []
        return [
            row
            for row in rows
            if row.tier == tier and set(before) <= set(row.words) and any(word.startswith(last) for word in row.words)
        ]

    if lang in (None, "en"):
        steps = [step(tier) for tier in range(3) for step in (whole, prefix)]
    else:
        steps = [step(tier) for step in (whole, prefix) for tier in range(3)]
    found = {row.uuid: row for step in steps for row in sorted(step, key=order)}
    return list(found.values())[:limit]
