"""The JSON of times."""

import json
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from uuid import UUID

import pytest

from countonme.api.renderers import as_json

WHOLE = datetime(2026, 1, 5, 7, 31, tzinfo=UTC)
OTHER = WHOLE.replace(microsecond=123456)


class TestATime:
    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            (WHOLE, "2026-01-05T07:31:00.000000Z"),
            (WHOLE.replace(second=59), "2026-01-05T07:31:59.000000Z"),
            (OTHER, "2026-01-05T07:31:00.123456Z"),
            (WHOLE.replace(microsecond=7), "2026-01-05T07:31:00.000007Z"),
            (WHOLE.replace(microsecond=120000), "2026-01-05T07:31:00.120000Z"),
            (WHOLE.replace(tzinfo=timezone(timedelta(0))), "2026-01-05T07:31:00.000000Z"),
        ],
    )
    def test_has_six_fraction_digits(self, value, expected):
        assert json.loads(as_json(value)) == expected
        assert json.loads(as_json({"rows": [{"created_at": value, "updated_at": OTHER}]})) == {
            "rows": [{"created_at": expected, "updated_at": "2026-01-05T07:31:00.123456Z"}]
        }


class TestOtherValues:
    def test_do_not_change_if_there_is_a_whole_second(self):
        values = {
            "date": date(2026, 1, 5),
            "time": time(7, 31),
            "id": UUID(int=7),
            "amount": Decimal("7.10"),
            "nothing": None,
            "text": "2026-01-05T07:31:00Z",
        }

        with_a_whole_second = json.loads(as_json(values | {"at": WHOLE}))

        assert with_a_whole_second == json.loads(as_json(values)) | {"at": "2026-01-05T07:31:00.000000Z"}
        assert with_a_whole_second["text"] == "2026-01-05T07:31:00Z"
        assert with_a_whole_second["amount"] == 7.1
