"""The decision table of a push, line by line, without a database."""

from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from sync.push.verdicts import Verdict, deletion_verdict, verdict

SINCE = 5


def live(revision: int) -> SimpleNamespace:
    return SimpleNamespace(revision=revision, deleted_at=None)


def tombstone(revision: int) -> SimpleNamespace:
    return SimpleNamespace(revision=revision, deleted_at=datetime(2026, 1, 5, tzinfo=UTC))


def pushed(*, equal: bool) -> SimpleNamespace:
    """Return a pushed row that has the values of the stored one, or others."""
    return SimpleNamespace(equals=lambda row: equal)


SAME, DIFFERENT = pushed(equal=True), pushed(equal=False)

ROWS = [
    ("unknown", DIFFERENT, None, Verdict.UPSERT),
    ("unchanged since the pull", DIFFERENT, live(SINCE), Verdict.UPSERT),
    ("unchanged since the pull, and equal", SAME, live(SINCE), Verdict.UPSERT),
    ("changed since, and equal", SAME, live(SINCE + 1), Verdict.NOTHING),
    ("changed since, and different", DIFFERENT, live(SINCE + 1), Verdict.CONFLICT),
    ("deleted before the pull", DIFFERENT, tombstone(SINCE), Verdict.REDELETE),
    ("deleted before the pull, and equal", SAME, tombstone(SINCE), Verdict.REDELETE),
    ("deleted since", DIFFERENT, tombstone(SINCE + 1), Verdict.CONFLICT),
    ("deleted since, and equal", SAME, tombstone(SINCE + 1), Verdict.CONFLICT),
]
DELETIONS = [
    ("unknown or a tombstone", None, Verdict.NOTHING),
    ("unchanged since the pull", SINCE, Verdict.DELETE),
    ("changed since", SINCE + 1, Verdict.CONFLICT),
]


def ids_of(table: list[tuple]) -> list[str]:
    return [case for case, *_ in table]


class TestVerdict:
    @pytest.mark.parametrize(("case", "row", "stored", "expected"), ROWS, ids=ids_of(ROWS))
    def test_follows_the_decision_table(self, case, row, stored, expected):
        assert verdict(stored, row, since=SINCE, stale=False) is expected

    @pytest.mark.parametrize(("case", "row", "stored", "expected"), ROWS, ids=ids_of(ROWS))
    def test_is_conflict_if_the_cursor_is_stale(self, case, row, stored, expected):
        assert verdict(stored, row, since=SINCE, stale=True) is Verdict.CONFLICT


class TestDeletionVerdict:
    @pytest.mark.parametrize(("case", "live_revision", "expected"), DELETIONS, ids=ids_of(DELETIONS))
    def test_follows_the_decision_table(self, case, live_revision, expected):
        assert deletion_verdict(live_revision, since=SINCE, stale=False) is expected

    @pytest.mark.parametrize(("case", "live_revision", "expected"), DELETIONS, ids=ids_of(DELETIONS))
    def test_is_conflict_if_the_cursor_is_stale(self, case, live_revision, expected):
        assert deletion_verdict(live_revision, since=SINCE, stale=True) is Verdict.CONFLICT
