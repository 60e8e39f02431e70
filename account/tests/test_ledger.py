import os
import stat
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from account import ledger as ledgers
from account.ledger import Entry, append, read
from devices.models import hash_device_id

AT = datetime(2026, 1, 5, 7, 30, 12, tzinfo=UTC)


def entry() -> Entry:
    return Entry(AT, uuid4(), hash_device_id(uuid4()))


class TestLedger:
    def test_returns_appended_lines(self, ledger):
        first, second = entry(), entry()

        append([first])
        append([second])

        assert list(read()) == [first, second]
        assert ledger.read_text().splitlines()[0] == f"2026-01-05T07:30:12Z {first.erasure_id} {first.device_hash}"

    def test_can_be_read_by_its_owner_only(self, ledger):
        before = os.umask(0)
        try:
            append([entry()])
        finally:
            os.umask(before)

        assert stat.S_IMODE(ledger.stat().st_mode) == 0o600

    @pytest.mark.parametrize("torn", ["2026-01-05T07:3", f"2026-01-05T07:30:12Z {uuid4()} {'ab' * 31}", "x"])
    def test_keeps_lines_after_an_incomplete_one(self, ledger, torn):
        ledger.write_text(torn)
        following = [entry(), entry()]

        append(following)

        assert list(read()) == [None, *following]

    @pytest.mark.parametrize(
        "line",
        [
            "nonsense",
            f"2026-02-30T07:30:12Z {uuid4()} {'ab' * 32}",
            f"2026-01-05T07:30:12Z {uuid4()} {'AB' * 32}",
            f"2026-01-05T07:30:12Z {uuid4()} {'ab' * 33}",
            "\x00\udcff" * 50,
        ],
        ids=ascii,
    )
    def test_yields_none_for_an_invalid_line(self, ledger, line):
        ledger.write_text(f"{line}\n", errors="surrogateescape")

        assert list(read()) == [None]

    def test_ignores_empty_lines_and_line_ends_of_another_system(self, ledger):
        line = entry()
        ledger.write_bytes(f"\r\n\n{line}\r\n  \n".encode())

        assert list(read()) == [line]

    def test_is_synced_to_disk_before_append_returns(self, ledger, monkeypatch):
        synced = []
        monkeypatch.setattr(ledgers.os, "fsync", lambda file: synced.append(os.fstat(file).st_ino))

        append([entry()])
        append([entry()])

        assert synced == [ledger.parent.stat().st_ino, ledger.stat().st_ino, ledger.stat().st_ino]

    def test_keeps_the_lines_of_concurrent_writers(self, ledger):
        entries = [entry() for _ in range(200)]

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda each: append([each]), entries))

        assert set(read()) == set(entries)
