"""Measure the SQL of searches: the service's own, and the usual ways beside it, on the same foods.

`python -m benchmarks.catalog_sql FILE` runs on the database of the settings. It writes the seconds of each text, and
the service's statements with their parameters, which the bare WSGI function sends.
"""

import os
import re
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import django
import orjson
from django.db import connection

from benchmarks.catalog_queries import LIMIT, TEXTS

OUR_ROUNDS, USUAL_ROUNDS = 7, 2  # after one that warms up
VECTOR = "to_tsvector('simple', name || ' ' || coalesce(brand, ''))"
POSTGRESQL = (
    "CREATE EXTENSION IF NOT EXISTS pg_trgm",
    "SET max_parallel_workers_per_gather = 0",  # the service's statements are too short for parallel workers
    f"CREATE TABLE usual AS SELECT uuid, name, {VECTOR} AS vector FROM catalog_foods WHERE tier IS NOT NULL",
    "CREATE INDEX usual_vector ON usual USING gin (vector)",
    "CREATE INDEX usual_name ON usual USING gin (name gin_trgm_ops)",
    "VACUUM ANALYZE usual",
)
TS_RANK = """
SELECT uuid FROM usual, to_tsquery('simple', %s) AS query WHERE vector @@ query
ORDER BY ts_rank(vector, query) DESC, uuid LIMIT %s
"""
TRIGRAM = """
SELECT uuid FROM usual WHERE name %% %s OR name ILIKE %s
ORDER BY lower(name) = lower(%s) DESC, name ILIKE %s DESC, similarity(name, %s) DESC, uuid LIMIT %s
"""
SQLITE = (
    "CREATE VIRTUAL TABLE usual USING fts5(name, brand, content = '')",
    "INSERT INTO usual (rowid, name, brand) SELECT serial, name, brand FROM catalog_foods WHERE tier IS NOT NULL",
)
BM25 = """
SELECT uuid FROM (SELECT rowid FROM usual WHERE usual MATCH %s ORDER BY bm25(usual) LIMIT %s) AS best
JOIN catalog_foods ON serial = best.rowid
"""


class Recorder:
    """Runs searches, and records their statements and the time of each."""

    def __init__(self):
        self.fetch, self.statements, self.seconds = connection.fetch_cached, [], 0.0
        connection.fetch_cached = self.fetch_cached

    def fetch_cached(self, sql: str, params: list, **options) -> list[tuple]:
        began = time.perf_counter()
        rows = self.fetch(sql, params, **options)
        self.seconds += time.perf_counter() - began
        self.statements.append((sql, params))
        return rows

    def search(self, text: str) -> float:
        """Return the seconds of the SQL."""
        from catalog.search import search

        self.statements, self.seconds = [], 0.0
        self.found = search(text, None, LIMIT)
        return self.seconds

    def record(self, text: str) -> dict:
        """Return the ids that a search finds, its statements, and those that load the foods."""
        from catalog.reading import load

        self.search(text)
        searching = self.statements
        self.statements = []
        load(self.found)
        return {"ids": self.found, "searching": searching, "loading": self.statements}


def main() -> None:
    django.setup()
    connection.ensure_connection()
    recorder = Recorder()
    ours = times_of(recorder.search, OUR_ROUNDS)
    recorded = {text: recorder.record(text) for text in TEXTS}
    Path(sys.argv[1]).write_bytes(orjson.dumps({"ours": ours, "usual": measure_usual(), "recorded": recorded}))


def times_of(search: Callable[[str], float], rounds: int) -> list[float]:
    """Return the median time of each text in milliseconds."""
    for text in TEXTS:
        search(text)
    times = [[search(text) for text in TEXTS] for _ in range(rounds)]
    return [1000 * statistics.median(of_text) for of_text in zip(*times, strict=True)]


def measure_usual() -> dict[str, list[float]]:
    is_postgresql = connection.vendor == "postgresql"
    with connection.cursor() as cursor:
        for statement in POSTGRESQL if is_postgresql else SQLITE:
            cursor.execute(statement)
        usual = {"ts_rank": ts_rank, "trigram": trigram} if is_postgresql else {"bm25": bm25}
        times = {name: times_of(timed(*statement), USUAL_ROUNDS) for name, statement in usual.items()}
        cursor.execute("DROP TABLE usual")
    return times


def timed(sql: str, params_of: Callable[[str], list]) -> Callable[[str], float]:
    def run(text: str) -> float:
        params = params_of(text)
        began = time.perf_counter()
        connection.fetch_cached(sql, params)
        return time.perf_counter() - began

    return run


def words_of(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def tsquery(text: str) -> list:
    return [" & ".join(f"'{word}'" for word in words_of(text)) + ":*", LIMIT]


def fts5_query(text: str) -> list:
    return [" AND ".join(f'"{word}"' for word in words_of(text)) + " *", LIMIT]


def trigram_params(text: str) -> list:
    return [text, f"%{text}%", text, f"{text}%", text, LIMIT]


ts_rank, trigram, bm25 = (TS_RANK, tsquery), (TRIGRAM, trigram_params), (BM25, fts5_query)

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "countonme.settings")
    main()
