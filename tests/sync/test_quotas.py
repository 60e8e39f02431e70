from datetime import timedelta

import pytest
from django.utils import timezone

from devices.models import Device
from ownership.tests.counters import counted, counters
from sync.purge import purge
from tests.harness.sync import ALL_STORED, entry, errors_of, live_rows, portion, product, push_ok, revision

QUOTA = [("quota",)]


@pytest.fixture(autouse=True)
def _check_counters(request, db):
    """After each test, check that the counters match the stored rows."""
    yield
    for device in Device.objects.all():
        assert counters(device) == counted(device)


@pytest.fixture
def rye(api) -> dict:
    row = product()
    push_ok(api, products={"created": [row]})
    return row


def rejected_ids(answer: dict) -> dict:
    assert all(errors == QUOTA for _, _, errors in errors_of(answer))
    return answer["experimentalRejectedIds"]


class TestRowOverAQuota:
    def test_is_rejected_and_the_others_are_stored(self, api, settings, rye):
        settings.MAX_FOOD_ENTRIES = 3
        old = entry(rye)
        push_ok(api, revision(api), food_entries={"created": [old]})
        new = [entry(rye) for _ in range(4)]

        answer = push_ok(api, revision(api), food_entries={"created": new, "updated": [old | {"grams": 3}]})

        assert rejected_ids(answer) == {"food_entries": [row["id"] for row in new[2:]]}
        assert answer["rejected"][0]["errors"][0]["msg"].startswith("A device can have 3 food entries.")
        assert live_rows(api, "food_entries").keys() == {old["id"], new[0]["id"], new[1]["id"]}
        assert live_rows(api, "food_entries")[old["id"]]["grams"] == 3

    def test_is_rejected_with_the_rows_that_refer_to_it(self, api, settings, rye):
        settings.MAX_PRODUCTS = 1
        oats = product()

        answer = push_ok(
            api,
            revision(api),
            products={"created": [oats]},
            portions={"created": [portion(oats)]},
            food_entries={"created": [entry(oats), entry(rye)]},
        )

        assert {table: len(ids) for table, ids in answer["experimentalRejectedIds"].items()} == {
            "products": 1,
            "portions": 1,
            "food_entries": 1,
        }
        assert live_rows(api, "products").keys() == {rye["id"]}

    def test_can_be_a_product_if_its_portion_exceeds_the_quota(self, api, settings, rye):
        settings.MAX_PORTIONS = 2
        rows = [product() for _ in range(3)]

        answer = push_ok(api, revision(api), products={"created": rows}, portions={"created": [portion(rows[0])]})

        assert rejected_ids(answer) == {"products": [row["id"] for row in rows[1:]]}
        assert len(live_rows(api, "portions")) == 2

    def test_can_be_the_second_portion_of_a_new_product(self, api, settings):
        settings.MAX_PORTIONS = 2
        rows = [product(), product()]
        portions = [portion(rows[0]), portion(rows[0]), portion(rows[1])]

        answer = push_ok(api, 1, products={"created": rows}, portions={"created": portions})

        assert rejected_ids(answer) == {"portions": [portions[1]["id"]]}
        assert live_rows(api, "portions").keys() == {portions[0]["id"], portions[2]["id"]}

    def test_can_be_a_portion_over_the_limit_of_its_product(self, api, settings, rye):
        settings.MAX_PORTIONS_PER_PRODUCT = 3
        oats = product()
        portions = [portion(rye) for _ in range(3)] + [portion(oats) for _ in range(4)]

        answer = push_ok(api, revision(api), products={"created": [oats]}, portions={"created": portions})
        again = push_ok(
            api, revision(api), portions={"created": [portion(rye)], "updated": [portions[0] | {"grams": 3}]}
        )

        assert rejected_ids(answer) == {"portions": [portions[2]["id"], portions[6]["id"]]}
        assert "A product can have 3 portions." in answer["rejected"][0]["errors"][0]["msg"]
        assert len(rejected_ids(again)["portions"]) == 1

    def test_is_stored_after_a_purge(self, api, settings, rye):
        settings.MAX_PRODUCTS = 1
        oats = product()
        push_ok(api, revision(api), products={"deleted": [rye["id"]]})
        assert rejected_ids(push_ok(api, revision(api), products={"created": [oats]}))

        list(purge(timezone.now() + timedelta(days=1), commit=True))

        assert push_ok(api, revision(api), products={"created": [oats]}) == ALL_STORED

    def test_is_not_counted_if_its_id_is_taken(self, api, other_api, settings, rye):
        settings.MAX_PRODUCTS = 1
        mine, taken = product(), product(id=rye["id"])

        answer = push_ok(other_api, 1, products={"created": [taken, mine]})

        assert answer["experimentalRejectedIds"] == {"products": [rye["id"]]}
        assert errors_of(answer) == [("products", rye["id"], [("id", "taken")])]
        assert live_rows(other_api, "products").keys() == {mine["id"]}

    def test_is_rejected_if_it_exceeds_the_daily_limit(self, api, settings):
        settings.NEW_ROWS_FIRST_DAY = 5
        rows = [product() for _ in range(4)]

        answer = push_ok(api, 1, products={"created": rows})

        assert rejected_ids(answer) == {"products": [row["id"] for row in rows[2:]]}
        assert answer["rejected"][0]["errors"][0]["msg"].startswith("A device can add 5 rows a day.")


class TestLastPortionOfAProduct:
    """If the last portion is deleted, the server creates another one. This must not exceed a quota."""

    @pytest.fixture(params=["MAX_PORTIONS", "NEW_ROWS_FIRST_DAY"])
    def full(self, request, settings, api):
        """Return a function that lowers a quota so that no portion can be added."""

        def full() -> None:
            row = Device.objects.get(pk=api.token.partition(".")[0])
            limit = row.row_counts["portions"] if request.param == "MAX_PORTIONS" else row.new_rows
            setattr(settings, request.param, limit)

        return full

    def test_is_kept_if_no_other_can_be_created(self, api, rye, full):
        (last,) = live_rows(api, "portions").values()
        full()

        answer = push_ok(api, revision(api), portions={"deleted": [last["id"]]})

        assert rejected_ids(answer) == {"portions": [last["id"]]}
        assert live_rows(api, "portions") == {last["id"]: last}

    def test_is_kept_as_default_if_all_are_deleted_at_once(self, api, rye, full):
        new = [portion(rye), portion(rye)]
        push_ok(api, revision(api), portions={"created": new})
        ids = list(live_rows(api, "portions"))
        full()

        answer = push_ok(api, revision(api), portions={"deleted": ids})

        (kept,) = live_rows(api, "portions").values()
        assert rejected_ids(answer) == {"portions": [kept["id"]]}
        assert kept["is_default"] is True

    def test_is_kept_if_the_product_has_reached_its_limit(self, api, settings, rye):
        settings.MAX_PORTIONS_PER_PRODUCT = 2
        (first,) = live_rows(api, "portions")
        assert push_ok(api, revision(api), portions={"deleted": [first]}) == ALL_STORED
        (second,) = live_rows(api, "portions")

        answer = push_ok(api, revision(api), portions={"deleted": [second]})

        assert rejected_ids(answer) == {"portions": [second]}
        assert live_rows(api, "portions").keys() == {second}

    def test_is_replaced_if_the_quota_allows_it(self, api, rye):
        (last,) = live_rows(api, "portions")

        assert push_ok(api, revision(api), portions={"deleted": [last]}) == ALL_STORED
        assert live_rows(api, "portions").keys() != {last}

    def test_is_deleted_if_there_is_another_one(self, api, settings, rye, full):
        second = portion(rye)
        push_ok(api, revision(api), portions={"created": [second]})
        first = next(row for row in live_rows(api, "portions") if row != second["id"])
        full()

        assert push_ok(api, revision(api), portions={"deleted": [first]}) == ALL_STORED
        assert live_rows(api, "portions") == {second["id"]: second | {"is_default": True}}


class TestCounters:
    def test_count_each_row_once(self, api, device):
        rows = [product(), product()]
        portions = [portion(rows[0]), portion(rows[0])]
        body = {
            "products": {"created": rows},
            "portions": {"created": portions},
            "food_entries": {"created": [entry(rows[0])]},
        }

        push_ok(api, 1, **body)
        before = counters(device)
        push_ok(api, revision(api), **body)
        push_ok(api, revision(api), products={"deleted": [rows[0]["id"]]})

        assert before == counters(device) == {"products": 2, "portions": 3, "food_entries": 1}
        assert Device.objects.get(pk=device.pk).new_rows == 6
