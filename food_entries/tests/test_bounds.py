"""Which values each field accepts on create and on update. The values are raw JSON."""

from datetime import date
from uuid import UUID

import pytest

from food_entries.tests.factories import FoodEntryFactory
from tests.harness.bounds import (
    BLANK,
    EMPTY_LIST,
    INVALID_UUIDS,
    NIL,
    NOT_A_NUMBER,
    NOT_A_STRING,
    NOT_A_UUID,
    NOT_OBJECTS,
    NULL,
    REQUIRED,
    error_above,
    error_below,
    send,
    table,
)
from tests.harness.errors import NO_PRODUCT, validation_error_body

ENTRIES = "/v1/food-entries"

NIL_UUID = f'"{UUID(int=0)}"'
NO_DAY = ("A date has the form YYYY-MM-DD.", "invalid")
NO_TIME = ("A time has the form HH:MM, HH:MM:SS or HH:MM:SS.mmm.", "invalid")
INVISIBLE = ("This name has no visible character.", "invisible")
INVISIBLE = ("This name has no visible character.", "invisible")
LONG_MEAL = ("Ensure this field has no more than 30 characters.", "max_length")
NO_SUCH_DAY = ("There is no such day.", "no_such_day")
OUT_OF_RANGE = (
    "Must be between 1900-01-01 and 2199-12-31. Does the phone use the Gregorian calendar?",
    "day_out_of_range",
)
TOO_LITTLE = error_below("0.01")
TOO_MANY_GRAMS = error_above(100000)
TOO_MANY = error_above(1000)

NO_NUMBERS = ['"71"', '""', "true", "false", "[71]", "{}", "1e400"]
NO_DAYS = [
    *["20260105", '"20260105"', '"2026-W01-1"', '"2026W011"', '"2026-005"', '"2026-1-5"', '"2026-01-5"', '"26-01-05"'],
    *['"10000-01-01"', '"-001-01-01"', '"+2026-01-05"', '"2026/01/05"', '"05.01.2026"', '"2026-01-05T00:00:00"'],
    *[
        '"2026-01-05Z"',
        '" 2026-01-05"',
        r'"2026-01-05\n"',
        r'"2026-01-05\u0000"',
        r'"\ud83c026-01-05"',
        '"today"',
        '""',
    ],
    *['"２０２６-０１-０５"', '"٢٠٢٦-٠١-٠٥"', '"2026‐01‐05"', "0", "true", '["2026-01-05"]', "{}"],
]
NO_TIMES = [
    *['""', '"7:30"', '"24:00"', '"12:60"', '"12:00:60"', '"12:00:00.1"', '"12:00:00.0001"', '"12:00:00,000"'],
    *[
        '"12:00Z"',
        '"12:00+01:00"',
        '" 12:00"',
        r'"12:00\n"',
        '"1200"',
        '"１２:００"',
        '"noon"',
        "12",
        "true",
        '["12:00"]',
        "{}",
    ],
]
MISSING_DAYS = [
    "2026-02-30",
    "2025-02-29",
    "2026-11-31",
    "2026-13-01",
    "2026-00-10",
    "2026-01-00",
    "2026-01-32",
    "0000-01-01",
]
OTHER_CENTURIES = ["0001-01-01", "1899-12-31", "2200-01-01", "2569-01-05", "9999-12-31"]
GRAMS_REFUSED = [
    *[("grams", value, NOT_A_NUMBER) for value in [*NO_NUMBERS, "9" * 5000]],
    *[("grams", value, TOO_LITTLE) for value in ("0", "-0.0", "0.004", "0.0049999", "-0.001", "-71", "1e-400")],
    *[("grams", value, TOO_MANY_GRAMS) for value in ("100000.005", "100001", "1e30", "1" + "0" * 4000)],
]
QUANTITY_REFUSED = [
    *[("quantity", value, NOT_A_NUMBER) for value in NO_NUMBERS],
    *[("quantity", value, TOO_LITTLE) for value in ("0", "0.004", "-1", "1e-400")],
    *[("quantity", value, TOO_MANY) for value in ("1000.005", "1001", "1e30", "1" + "0" * 4000)],
]
REFUSED = [
    *[("time", value, NO_TIME) for value in NO_TIMES],
    ("product_id", "null", NULL),
    ("product_id", NIL_UUID, NO_PRODUCT[1:]),
    *[(field, value, NOT_A_UUID) for field in ("product_id", "portion_id") for value in INVALID_UUIDS],
    ("date", "null", NULL),
    *[("date", value, NO_DAY) for value in NO_DAYS],
    *[("date", f'"{day}"', NO_SUCH_DAY) for day in MISSING_DAYS],
    *[("date", f'"{day}"', OUT_OF_RANGE) for day in OTHER_CENTURIES],
    ("meal_type", "null", NULL),
    *[("meal_type", value, BLANK) for value in ('""', '"  "', r'"\u00a0"')],
    *[("meal_type", value, INVISIBLE) for value in (r'"\u200b"', '"ㅤ"')],
    *[("meal_type", value, NOT_A_STRING) for value in ("1", "true", "[]", '["lunch"]', "{}")],
    *[("meal_type", f'"{meal}"', LONG_MEAL) for meal in ("x" * 31, "麦" * 31)],
    ("meal_type", r'"a\u0000b"', ("Null characters are not allowed.", "null_characters_not_allowed")),
]
IDS_REFUSED = [("id", "null", NULL), ("id", NIL_UUID, NIL), *[("id", value, NOT_A_UUID) for value in INVALID_UUIDS]]

GRAMS_ACCEPTED = [
    ("grams", "0.005", 0.01),
    ("grams", "0.01", 0.01),
    ("grams", "71", 71.0),
    ("grams", "7.1e1", 71.0),
    ("grams", "0.30000000000000004", 0.3),
    ("grams", "0.125", 0.13),
    ("grams", "1.005", 1.01),
    ("grams", "99999.995", 100000.0),
    ("grams", "100000", 100000.0),
    ("grams", "100000.004", 100000.0),
]
QUANTITY_ACCEPTED = [
    ("quantity", "0.005", 0.01),
    ("quantity", "1", 1.0),
    ("quantity", "0.30000000000000004", 0.3),
    ("quantity", "1.005", 1.01),
    ("quantity", "999.995", 1000.0),
    ("quantity", "1000.004", 1000.0),
]
ACCEPTED = [
    *[
        ("time", f'"{sent}"', stored)
        for sent, stored in (
            ("00:00", "00:00:00.000"),
            ("07:30", "07:30:00.000"),
            ("07:30:05", "07:30:05.000"),
            ("23:59:59.999", "23:59:59.999"),
        )
    ],
    ("time", "null", None),
    *[("date", f'"{day}"', day) for day in ("1900-01-01", "2024-02-29", "2199-12-31")],
    *[("meal_type", f'"{meal}"', meal) for meal in ("breakfast", "lunch", "dinner", "snacks")],
    *[("meal_type", f'"{sent}"', stored) for sent, stored in (("LUNCH", "lunch"), (" Snacks ", "snacks"))],
    *[("meal_type", f'" {meal} "', meal) for meal in ("Brunch", "BRUNCH", "Second breakfast", "x", "麦" * 30)],
]


def one_of_each_kind(rows) -> list[tuple]:
    """Return one row for each field and error. It is enough for updates, which have the same serializer fields."""
    return list({(field, expected): (field, value, expected) for field, value, expected in rows}.values())


@pytest.fixture
def body_by_weight(rye) -> dict[str, str]:
    return {"product_id": f'"{rye.pk}"', "grams": "71", "date": '"2026-01-05"'}


@pytest.fixture
def body_by_portion(rye, rye_slice) -> dict[str, str]:
    return {"product_id": f'"{rye.pk}"', "portion_id": f'"{rye_slice.pk}"', "date": '"2026-01-05"'}


class TestCreateEntry:
    @table(GRAMS_REFUSED + REFUSED + IDS_REFUSED)
    def test_refuses(self, api, body_by_weight, all_rows, field, value, expected):
        before = all_rows()

        response = send(api, "POST", ENTRIES, body_by_weight | {field: value})

        assert response.status_code == 422
        assert response.json() == validation_error_body((field, *expected))
        assert all_rows() == before

    @table(QUANTITY_REFUSED)
    def test_refuses_a_quantity(self, api, body_by_portion, all_rows, field, value, expected):
        before = all_rows()

        response = send(api, "POST", ENTRIES, body_by_portion | {field: value})

        assert response.status_code == 422
        assert response.json() == validation_error_body((field, *expected))
        assert all_rows() == before

    @table(GRAMS_ACCEPTED + ACCEPTED)
    def test_accepts(self, api, device, body_by_weight, field, value, expected):
        response = send(api, "POST", ENTRIES, body_by_weight | {field: value})

        assert response.status_code == 201
        assert response.json()[field] == expected
        assert type(response.json()[field]) is type(expected)
        assert api.get(f"{ENTRIES}/{device.food_entries.get().pk}").json() == response.json()

    @table(QUANTITY_ACCEPTED)
    def test_accepts_a_quantity(self, api, device, body_by_portion, field, value, expected):
        response = send(api, "POST", ENTRIES, body_by_portion | {field: value})

        assert response.status_code == 201
        assert response.json()[field] == expected
        assert type(response.json()[field]) is type(expected)
        assert api.get(f"{ENTRIES}/{device.food_entries.get().pk}").json() == response.json()

    @pytest.mark.parametrize("missing", ["product_id", "date"])
    def test_requires(self, api, body_by_weight, all_rows, missing):
        before = all_rows()

        response = send(api, "POST", ENTRIES, {k: v for k, v in body_by_weight.items() if k != missing})

        assert response.status_code == 422
        assert response.json() == validation_error_body((missing, *REQUIRED))
        assert all_rows() == before

    @pytest.mark.parametrize(("body", "error"), [*NOT_OBJECTS, EMPTY_LIST])
    def test_refuses_a_body_that_is_not_an_object(self, api, device, all_rows, body, error):
        before = all_rows()

        response = send(api, "POST", ENTRIES, body)

        assert response.status_code == 422
        assert response.json() == validation_error_body(error)
        assert all_rows() == before

    @pytest.mark.parametrize(("body", "error"), [*NOT_OBJECTS, EMPTY_LIST])
    def test_refuses_an_item_that_is_not_an_object(self, api, body_by_weight, all_rows, body, error):
        whole = "{" + ", ".join(f'"{name}": {value}' for name, value in body_by_weight.items()) + "}"
        before = all_rows()

        response = send(api, "POST", f"{ENTRIES}/batch", f"[{whole}, {body}, {whole}]")

        assert response.status_code == 422
        assert response.json() == validation_error_body((1, *error))
        assert all_rows() == before


class TestUpdateEntry:
    @table(one_of_each_kind(GRAMS_REFUSED + REFUSED))
    def test_refuses(self, api, by_weight, all_rows, field, value, expected):
        before = all_rows()

        response = send(
            api, "PATCH", f"{ENTRIES}/{by_weight.pk}", {"grams": "1", "meal_type": '"dinner"', field: value}
        )

        assert response.status_code == 422
        assert response.json() == validation_error_body((field, *expected))
        assert all_rows() == before

    @table(one_of_each_kind(QUANTITY_REFUSED))
    def test_refuses_a_quantity(self, api, by_portion, all_rows, field, value, expected):
        before = all_rows()

        response = send(api, "PATCH", f"{ENTRIES}/{by_portion.pk}", {"meal_type": '"dinner"', field: value})

        assert response.status_code == 422
        assert response.json() == validation_error_body((field, *expected))
        assert all_rows() == before

    @table(GRAMS_ACCEPTED + ACCEPTED)
    def test_accepts(self, api, by_weight, field, value, expected):
        response = send(api, "PATCH", f"{ENTRIES}/{by_weight.pk}", {field: value})

        assert response.status_code == 200
        assert response.json()[field] == expected
        assert type(response.json()[field]) is type(expected)
        assert api.get(f"{ENTRIES}/{by_weight.pk}").json() == response.json()

    @table(QUANTITY_ACCEPTED)
    def test_accepts_a_quantity(self, api, by_portion, field, value, expected):
        response = send(api, "PATCH", f"{ENTRIES}/{by_portion.pk}", {field: value})

        assert response.status_code == 200
        assert response.json()[field] == expected
        assert type(response.json()[field]) is type(expected)
        assert api.get(f"{ENTRIES}/{by_portion.pk}").json() == response.json()

    @pytest.mark.parametrize("body", ["null", "[]", '"Rye"', "7", "true"])
    def test_refuses_a_body_that_is_not_an_object(self, api, by_weight, all_rows, body):
        before = all_rows()

        response = send(api, "PUT", f"{ENTRIES}/{by_weight.pk}", body)

        assert response.status_code == 422
        assert [error["loc"] for error in response.json()["errors"]] == [[]]
        assert all_rows() == before


class TestAQuery:
    @pytest.mark.parametrize("name", ["date", "from", "to"])
    @pytest.mark.parametrize(
        ("value", "error"),
        [
            *[(value, NO_DAY) for value in ("20260105", "2026-W01-1", "2026-1-5", "٢٠٢٦-٠١-٠٥", "\0")],
            *[(value, NO_SUCH_DAY) for value in ("2026-02-30", "2026-11-31", "0000-01-01")],
            *[(value, OUT_OF_RANGE) for value in OTHER_CENTURIES],
        ],
    )
    def test_refuses_an_invalid_day(self, api, name, value, error):
        response = api.get(ENTRIES, {name: value})

        assert response.status_code == 422
        assert response.json() == validation_error_body((name, *error))

    def test_of_a_summary_refuses_days_of_another_century(self, api):
        response = api.get(f"{ENTRIES}/summary", {"from": "2569-01-05", "to": "2569-01-05"})

        assert response.status_code == 422
        assert response.json() == validation_error_body(("from", *OUT_OF_RANGE), ("to", *OUT_OF_RANGE))

    @pytest.mark.parametrize(("value", "kind"), [("", "blank"), ("x" * 31, "max_length")])
    def test_refuses_a_name_that_no_meal_can_have(self, api, value, kind):
        response = api.get(ENTRIES, {"meal_type": value})

        assert response.status_code == 422
        assert [(error["loc"], error["type"]) for error in response.json()["errors"]] == [(["meal_type"], kind)]

    @pytest.mark.parametrize(
        ("name", "value", "error"),
        [
            ("limit", "0", ("Ensure this value is greater than or equal to 1.", "min_value")),
            ("limit", "201", ("Ensure this value is less than or equal to 200.", "max_value")),
            ("limit", "many", ("A valid integer is required.", "invalid")),
            ("offset", "-1", ("Ensure this value is greater than or equal to 0.", "min_value")),
            ("offset", "1000001", ("Ensure this value is less than or equal to 1000000.", "max_value")),
        ],
    )
    def test_refuses_an_invalid_page(self, api, name, value, error):
        response = api.get(ENTRIES, {name: value})

        assert response.status_code == 422
        assert response.json() == validation_error_body((name, *error))


class TestAnEntryOfAnotherCentury:
    """It is from before the rule."""

    @pytest.fixture
    def old(self, device, rye):
        return FoodEntryFactory(device=device, product=rye, date=date(2569, 1, 5))

    def test_is_read(self, api, old):
        assert api.get(f"{ENTRIES}/{old.pk}").json()["date"] == "2569-01-05"
        assert [row["date"] for row in api.get(ENTRIES).json()] == ["2569-01-05"]

    def test_can_be_changed_in_other_fields(self, api, old):
        response = api.put(f"{ENTRIES}/{old.pk}", {"date": "2569-01-05", "grams": 60})

        assert response.status_code == 200
        assert (response.json()["date"], response.json()["grams"]) == ("2569-01-05", 60.0)

    def test_can_get_a_day_within_the_bounds_only(self, api, old):
        refused = api.patch(f"{ENTRIES}/{old.pk}", {"date": "2569-01-06"})
        response = api.patch(f"{ENTRIES}/{old.pk}", {"date": "2026-01-05"})

        assert refused.status_code == 422
        assert refused.json() == validation_error_body(("date", *OUT_OF_RANGE))
        assert response.json()["date"] == "2026-01-05"
