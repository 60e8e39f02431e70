from datetime import timedelta

import pytest
from django.utils import timezone

from devices.models import Device
from ownership.tests.counters import counted, counters
from sync.purge import purge
from tests.harness.sync import ALL_STORED, entry, errors_of, live, portion, product, pushed, revision

QUOTA = [("quota",)]


@pytest.fixture(autouse=True)
def _counters_are_right(request, db):
    """Whatever a test pushes, the counters are those of the stored rows afterwards."""
    yield
    for device in Device.objects.all():
        assert counters(device) == counted(device)


@pytest.fixture
def rye(api) -> dict:
    row = product()
    pushed(api, products={"created": [row]})
    return row


def refused_ids(answer: dict) -> dict:
    assert all(errors == QUOTA for _, _, errors in errors_of(answer))
    return answer["experimentalRejectedIds"]


class TestARowOverAQuota:
    def test_is_named_and_the_others_are_stored(self, api, settings, rye):
        settings.MAX_FOOD_ENTRIES = 3
        old = entry(rye)
        pushed(api, revision(api), food_entries={"created": [old]})
        new = [entry(rye) for _ in range(4)]

        answer = pushed(api, revision(api), food_entries={"created": new, "updated": [old | {"grams": 3}]})

        assert refused_ids(answer) == {"food_entries": [row["id"] for row in new[2:]]}
        assert answer["rejected"][0]["errors"][0]["msg"].startswith("A device can have 3 food entries.")
        assert live(api, "food_entries").keys() == {old["id"], new[0]["id"], new[1]["id"]}
        assert live(api, "food_entries")[old["id"]]["grams"] == 3

    def test_takes_what_belongs_to_it_along(self, api, settings, rye):
        settings.MAX_PRODUCTS = 1
        oats = product()

        answer = pushed(
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
        assert live(api, "products").keys() == {rye["id"]}

    def test_can_be_a_product_whose_portion_would_be_too_much(self, api, settings, rye):
        settings.MAX_PORTIONS = 2
        rows = [product() for _ in range(3)]

        answer = pushed(api, revision(api), products={"created": rows}, portions={"created": [portion(rows[0])]})

        assert refused_ids(answer) == {"products": [row["id"] for row in rows[1:]]}
        assert len(live(api, "portions")) == 2

    def test_can_be_a_second_portion_of_a_new_product(self, api, settings):
        settings.MAX_PORTIONS = 2
        rows = [product(), product()]
        portions = [portion(rows[0]), portion(rows[0]), portion(rows[1])]

        answer = pushed(api, 1, products={"created": rows}, portions={"created": portions})

        assert refused_ids(answer) == {"portions": [portions[1]["id"]]}
        assert live(api, "portions").keys() == {portions[0]["id"], portions[2]["id"]}

    def test_can_be_one_of_too_many_portions_of_a_product(self, api, settings, rye):
        settings.MAX_PORTIONS_PER_PRODUCT = 3
        oats = product()
        portions = [portion(rye) for _ in range(3)] + [portion(oats) for _ in range(4)]

        answer = pushed(api, revision(api), products={"created": [oats]}, portions={"created": portions})
        again = pushed(
            api, revision(api), portions={"created": [portion(rye)], "updated": [portions[0] | {"grams": 3}]}
        )

        assert refused_ids(answer) == {"portions": [portions[2]["id"], portions[6]["id"]]}
        assert "A product can have 3 portions." in answer["rejected"][0]["errors"][0]["msg"]
        assert len(refused_ids(again)["portions"]) == 1

    def test_is_stored_once_a_purge_has_made_room(self, api, settings, rye):
        settings.MAX_PRODUCTS = 1
        oats = product()
        pushed(api, revision(api), products={"deleted": [rye["id"]]})
        assert refused_ids(pushed(api, revision(api), products={"created": [oats]}))

        list(purge(timezone.now() + timedelta(days=1), commit=True))

        assert pushed(api, revision(api), products={"created": [oats]}) == ALL_STORED

    def test_is_not_counted_if_its_id_is_taken(self, api, stranger, settings, rye):
        settings.MAX_PRODUCTS = 1
        mine, taken = product(), product(id=rye["id"])

        answer = pushed(stranger, 1, products={"created": [taken, mine]})

        assert answer["experimentalRejectedIds"] == {"products": [rye["id"]]}
        assert errors_of(answer) == [("products", rye["id"], [("id", "taken")])]
        assert live(stranger, "products").keys() == {mine["id"]}

    def test_over_the_daily_budget_is_named(self, api, settings):
        settings.NEW_ROWS_FIRST_DAY = 5
        rows = [product() for _ in range(4)]

        answer = pushed(api, 1, products={"created": rows})

        assert refused_ids(answer) == {"products": [row["id"] for row in rows[2:]]}
        assert answer["rejected"][0]["errors"][0]["msg"].startswith("A device can add 5 rows a day.")


class TestTheLastPortionOfAProduct:
    """The server makes another portion if the last one is deleted: that must not be a way around the quota."""

    @pytest.fixture(params=["MAX_PORTIONS", "NEW_ROWS_FIRST_DAY"])
    def full(self, request, settings, api):
        """Return a function after which no portion may be added."""

        def full() -> None:
            row = Device.objects.get(pk=api.token.partition(".")[0])
            limit = row.row_counts["portions"] if request.param == "MAX_PORTIONS" else row.new_rows
            setattr(settings, request.param, limit)

        return full

    def test_stays_if_no_other_may_be_made(self, api, rye, full):
        (last,) = live(api, "portions").values()
        full()

        answer = pushed(api, revision(api), portions={"deleted": [last["id"]]})

        assert refused_ids(answer) == {"portions": [last["id"]]}
        assert live(api, "portions") == {last["id"]: last}

    def test_is_the_newest_of_those_that_were_deleted_at_once(self, api, rye, full):
        new = [portion(rye), portion(rye)]
        pushed(api, revision(api), portions={"created": new})
        ids = list(live(api, "portions"))
        full()

        answer = pushed(api, revision(api), portions={"deleted": ids})

        (kept,) = live(api, "portions").values()
        assert refused_ids(answer) == {"portions": [kept["id"]]}
        assert kept["is_default"] is True

    def test_stays_if_the_product_has_as_many_as_it_may(self, api, settings, rye):
        settings.MAX_PORTIONS_PER_PRODUCT = 2
        (first,) = live(api, "portions")
        assert pushed(api, revision(api), portions={"deleted": [first]}) == ALL_STORED
        (second,) = live(api, "portions")

        answer = pushed(api, revision(api), portions={"deleted": [second]})

        assert refused_ids(answer) == {"portions": [second]}
        assert live(api, "portions").keys() == {second}

    def test_is_replaced_while_there_is_room(self, api, rye):
        (last,) = live(api, "portions")

        assert pushed(api, revision(api), portions={"deleted": [last]}) == ALL_STORED
        assert live(api, "portions").keys() != {last}

    def test_does_not_stay_if_another_one_comes(self, api, settings, rye, full):
        second = portion(rye)
        pushed(api, revision(api), portions={"created": [second]})
        first = next(row for row in live(api, "portions") if row != second["id"])
        full()

        assert pushed(api, revision(api), portions={"deleted": [first]}) == ALL_STORED
        assert live(api, "portions") == {second["id"]: second | {"is_default": True}}


class TestAnOrdinaryPush:
    def test_counts_each_row_once(self, api, device):
        rows = [product(), product()]
        portions = [portion(rows[0]), portion(rows[0])]
        body = {
            "products": {"created": rows},
            "portions": {"created": portions},
            "food_entries": {"created": [entry(rows[0])]},
        }

        pushed(api, 1, **body)
        before = counters(device)
        pushed(api, revision(api), **body)
        pushed(api, revision(api), products={"deleted": [rows[0]["id"]]})

        assert before == counters(device) == {"products": 2, "portions": 3, "food_entries": 1}
        assert Device.objects.get(pk=device.pk).new_rows == 6
