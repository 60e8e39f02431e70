from datetime import date
from uuid import UUID, uuid4

import pytest

from devices.models import Device
from food_entries.tests.factories import FoodEntryFactory
from products.models import Product
from products.tests.factories import ProductFactory
from tests.harness.install import Install
from tests.harness.sync import (
    ALL_STORED,
    entry,
    errors_of,
    live_rows,
    portion,
    product,
    pull_changes,
    push,
    push_ok,
    revision,
)


@pytest.fixture
def rye(api) -> dict:
    """A product with a portion, pushed by the device."""
    row = product(barcode="4006381333931")
    push_ok(api, products={"created": [row]}, portions={"created": [portion(row, is_default=True)]})
    return row


@pytest.fixture
def rye_slice(api, rye) -> dict:
    (row,) = live_rows(api, "portions").values()
    return row


@pytest.fixture
def lunch(api, rye) -> dict:
    row = entry(rye)
    push_ok(api, revision(api), food_entries={"created": [row]})
    return live_rows(api, "food_entries")[row["id"]]


def change_over_rest(api, row: dict, **values) -> None:
    assert api.patch(f"/v1/products/{row['id']}", values).status_code == 200


class TestRow:
    """Each line of the decision table in `sync/push/verdicts.py`, with the stored result."""

    @pytest.mark.parametrize("name", ["created", "updated"])
    def test_is_created_if_it_does_not_exist(self, api, device, name):
        row = product()

        assert push_ok(api, 1, products={name: [row]}) == ALL_STORED
        assert live_rows(api, "products") == {row["id"]: row}
        assert api.get(f"/v1/products/{row['id']}").json()["name"] == "Rye bread"
        assert revision(api) == 2

    @pytest.mark.parametrize("name", ["created", "updated"])
    def test_updates_a_row_that_has_not_changed_since_the_pull(self, api, rye, name):
        since = revision(api)

        assert push_ok(api, since, products={name: [rye | {"name": "Oats", "fat_100g": 1.5}]}) == ALL_STORED
        assert live_rows(api, "products")[rye["id"]] == rye | {"name": "Oats", "fat_100g": 1.5}
        assert revision(api) == since + 1

    def test_changes_nothing_if_it_equals_a_newer_stored_row(self, api, rye, all_rows):
        since = revision(api)
        change_over_rest(api, rye, name="Oats")
        before = all_rows()

        assert push_ok(api, since, products={"updated": [rye | {"name": " Oats ", "kcal_100g": 259}]}) == ALL_STORED
        assert all_rows() == before

    def test_returns_409_if_it_differs_from_a_newer_stored_row(self, api, rye, all_rows):
        since = revision(api)
        change_over_rest(api, rye, name="Oats")
        before = all_rows()

        response = push(api, since, products={"updated": [rye | {"name": "Wheat"}, product()]})

        assert response.status_code == 409
        assert response.json() == {
            "detail": "Some of these rows have changed since the last pull. Pull, merge, and push again.",
            "conflicts": {"products": [rye["id"]]},
        }
        assert all_rows() == before

    def test_returns_409_if_the_row_was_deleted_since_the_pull(self, api, rye, all_rows):
        since = revision(api)
        api.delete(f"/v1/products/{rye['id']}")
        before = all_rows()

        response = push(api, since, products={"updated": [rye]})

        assert (response.status_code, response.json()["conflicts"]) == (409, {"products": [rye["id"]]})
        assert all_rows() == before

    def test_stays_deleted_if_it_was_deleted_before_the_pull(self, api, rye):
        api.delete(f"/v1/products/{rye['id']}")
        since = revision(api)

        assert push_ok(api, since, products={"updated": [rye | {"name": "Back"}]}) == ALL_STORED
        assert live_rows(api, "products") == {}
        assert pull_changes(api, since)["changes"]["products"] == {"created": [], "updated": [], "deleted": [rye["id"]]}

    def test_is_deleted_if_the_push_also_deletes_it(self, api, rye, rye_slice):
        assert push_ok(api, revision(api), products={"updated": [rye], "deleted": [rye["id"]]}) == ALL_STORED
        assert live_rows(api, "products") == live_rows(api, "portions") == {}

    def test_gets_no_new_revision_if_nothing_has_changed(self, api, rye, all_rows):
        since, before = revision(api), all_rows()

        assert push_ok(api, since, products={"updated": [rye]}) == ALL_STORED
        assert all_rows() == before

    def test_keeps_the_values_of_columns_that_are_not_sent(self, api, rye):
        push_ok(api, revision(api), products={"updated": [{"id": rye["id"], "name": "Oats"}]})

        assert live_rows(api, "products")[rye["id"]] == rye | {"name": "Oats"}

    def test_can_have_unknown_columns(self, api, rye):
        strange = {"_status": "updated", "_changed": "name", "colour": "brown", "name": "Oats"}

        assert push_ok(api, revision(api), products={"updated": [rye | strange]}) == ALL_STORED
        assert live_rows(api, "products")[rye["id"]] == rye | {"name": "Oats"}

    @pytest.mark.parametrize(
        ("values", "stored"),
        [
            ({"name": " Rye bread "}, {}),
            ({"protein_100g": 8.504}, {"protein_100g": 8.5}),
            ({"kcal_100g": 61.5}, {"kcal_100g": 62}),
        ],
    )
    def test_is_in_the_next_pull_if_it_was_trimmed_or_rounded(self, api, rye, values, stored):
        since = revision(api)

        push_ok(api, since, products={"updated": [rye | values]})

        assert pull_changes(api, since)["changes"]["products"]["updated"] == [rye | stored]


class TestARowFromBeforeARule:
    """Rows that are stored may have values that are refused today."""

    @pytest.fixture
    def old(self, api, device) -> dict:
        row = ProductFactory(device=device, name="\u200b")
        return live_rows(api, "products")[str(row.pk)]

    @pytest.fixture
    def old_entry(self, api, device, old) -> dict:
        product = Product.objects.for_device(device).get(pk=old["id"])
        row = FoodEntryFactory(device=device, product=product, date=date(2569, 1, 5))
        return live_rows(api, "food_entries")[str(row.pk)]

    def test_can_be_changed_in_other_columns(self, api, old, old_entry):
        changed = {
            "products": {"updated": [old | {"kcal_100g": 7}]},
            "food_entries": {"updated": [old_entry | {"meal_type": "lunch"}]},
        }

        assert push_ok(api, revision(api), **changed) == ALL_STORED
        assert live_rows(api, "products")[old["id"]] == old | {"kcal_100g": 7}
        assert live_rows(api, "food_entries")[old_entry["id"]] == old_entry | {"meal_type": "lunch"}

    def test_gets_no_new_revision_if_nothing_has_changed(self, api, old, old_entry, all_rows):
        since, before = revision(api), all_rows()

        pushed = {"products": {"updated": [old]}, "food_entries": {"updated": [old_entry]}}

        assert push_ok(api, since, **pushed) == push_ok(api, 1, **pushed) == ALL_STORED
        assert all_rows() == before

    def test_can_not_get_another_such_value(self, api, old, old_entry):
        pushed = {
            "products": {"updated": [old | {"name": "\u200c"}]},
            "food_entries": {"updated": [old_entry | {"date": "2569-01-06"}]},
        }

        assert errors_of(push_ok(api, revision(api), **pushed)) == [
            ("products", old["id"], [("name", "invisible")]),
            ("food_entries", old_entry["id"], [("date", "day_out_of_range")]),
        ]

    def test_is_checked_in_its_other_columns(self, api, old):
        answer = push_ok(api, revision(api), products={"updated": [old | {"kcal_100g": -1}]})

        assert ("kcal_100g", "min_value") in errors_of(answer)[0][2]


class TestDeletion:
    @pytest.mark.parametrize("name", ["nothing", "a tombstone"])
    def test_is_ignored_if_there_is_no_live_row(self, api, rye, all_rows, name):
        api.delete(f"/v1/products/{rye['id']}")
        since, before = revision(api), all_rows()

        gone = rye["id"] if name == "a tombstone" else str(uuid4())
        assert push_ok(api, since, products={"deleted": [gone, "nonsense"]}) == ALL_STORED
        assert all_rows() == before

    def test_creates_a_tombstone(self, api, lunch):
        since = revision(api)

        assert push_ok(api, since, food_entries={"deleted": [lunch["id"]]}) == ALL_STORED
        assert pull_changes(api, since)["changes"]["food_entries"]["deleted"] == [lunch["id"]]
        assert api.get(f"/v1/food-entries/{lunch['id']}").status_code == 404

    def test_returns_409_if_the_row_has_changed_since_the_pull(self, api, rye, all_rows):
        since = revision(api)
        change_over_rest(api, rye, name="Oats")
        before = all_rows()

        response = push(api, since, products={"deleted": [rye["id"]]})

        assert (response.status_code, response.json()["conflicts"]) == (409, {"products": [rye["id"]]})
        assert all_rows() == before

    def test_deletes_the_portions_of_a_product_but_not_its_entries(self, api, rye, rye_slice, lunch):
        since = revision(api)

        push_ok(api, since, products={"deleted": [rye["id"]]})

        changes = pull_changes(api, since)["changes"]
        assert (changes["products"]["deleted"], changes["portions"]["deleted"]) == ([rye["id"]], [rye_slice["id"]])
        assert live_rows(api, "food_entries") == {lunch["id"]: lunch}


class TestStaleCursor:
    @pytest.mark.parametrize(
        "tables", [{"products": {"created": [product()]}}, {"portions": {"deleted": [str(uuid4())]}}]
    )
    def test_returns_409_if_tombstones_were_purged_since_the_pull(self, api, device, rye, tables):
        Device.objects.filter(pk=device.pk).update(purged_through=2)

        assert push(api, 1, **tables).status_code == 409
        assert push(api, 2, **tables).status_code == 200

    @pytest.mark.parametrize("ahead", [1, 10**9])
    def test_returns_409_if_the_cursor_is_ahead(self, api, rye, ahead):
        assert push(api, revision(api) + ahead, products={"created": [product()]}).status_code == 409


class TestInvalidRow:
    @pytest.mark.parametrize(
        ("values", "error"),
        [
            ({"kcal_100g": 1001}, ("kcal_100g", "max_value")),
            ({"kcal_100g": "12"}, ("kcal_100g", "invalid")),
            ({"name": "  "}, ("name", "blank")),
            ({"name": "a\x00b"}, ("name", "null_characters_not_allowed")),
            ({"name": "\u200b"}, ("name", "invisible")),
            ({"id": str(UUID(int=0))}, ("id", "nil")),
            ({"kcal_100g": 1000.5}, ("kcal_100g", "max_value")),
            ({"protein_100g": 100.005}, ("protein_100g", "max_value")),
            ({"barcode": "4006381333930"}, ("barcode", "invalid")),
        ],
    )
    def test_is_rejected_and_the_others_are_stored(self, api, values, error):
        bad, good = product(**values), product()

        answer = push_ok(api, products={"created": [bad, good]})

        assert answer["experimentalRejectedIds"] == {"products": [bad["id"]]}
        assert [(table, pk, found[0][0]) for table, pk, found in errors_of(answer)] == [
            ("products", bad["id"], error[0])
        ]
        assert list(live_rows(api, "products")) == [good["id"]]

    @pytest.mark.parametrize("row_id", ["", "nonsense", "A" * 36, str(uuid4()).upper(), "😀"])
    def test_is_rejected_by_the_id_as_sent(self, api, row_id):
        answer = push_ok(api, products={"created": [product(id=row_id)]})

        assert answer["experimentalRejectedIds"] == {"products": [row_id]}
        assert live_rows(api, "products") == {}

    @pytest.mark.parametrize("missing", ["name", "kcal_100g"])
    def test_lacks_a_required_column(self, api, missing):
        row = product()
        del row[missing]

        assert errors_of(push_ok(api, products={"created": [row]})) == [
            ("products", row["id"], [(missing, "required")])
        ]

    @pytest.mark.parametrize("table", ["portions", "food_entries"])
    @pytest.mark.parametrize("product_id", [str(uuid4()), str(UUID(int=0))], ids=["unknown", "nil"])
    def test_refers_to_a_product_that_does_not_exist(self, api, table, product_id):
        row = {"portions": portion, "food_entries": entry}[table](product(id=product_id))

        answer = push_ok(api, **{table: {"created": [row]}})

        assert errors_of(answer) == [(table, row["id"], [("product_id", "does_not_exist")])]
        assert live_rows(api, table) == {}

    def test_refers_to_a_rejected_product(self, api):
        bad = product(kcal_100g=-1)
        part = portion(bad)

        answer = push_ok(api, products={"created": [bad]}, portions={"created": [part]})

        assert answer["experimentalRejectedIds"] == {"products": [bad["id"]], "portions": [part["id"]]}

    @pytest.mark.parametrize("day", ["2026-02-30", "2026-1-5", "2569-01-05", 20260105, None])
    def test_has_an_invalid_date(self, api, rye, day):
        row = entry(rye, date=day)

        answer = push_ok(api, food_entries={"created": [row]})

        assert answer["experimentalRejectedIds"] == {"food_entries": [row["id"]]}

    def test_has_no_grams(self, api, rye):
        row = entry(rye, grams=None)

        assert errors_of(push_ok(api, food_entries={"created": [row]})) == [
            ("food_entries", row["id"], [("grams", "null")])
        ]

    def test_has_a_portion_that_does_not_exist(self, api, rye):
        row = entry(rye, portion_id=str(uuid4()), quantity=1)

        assert errors_of(push_ok(api, food_entries={"created": [row]})) == [
            ("food_entries", row["id"], [("portion_id", "does_not_exist")])
        ]

    def test_moves_a_portion_to_another_product(self, api, rye, rye_slice):
        oats = product(name="Oats")

        answer = push_ok(
            api,
            revision(api),
            products={"created": [oats]},
            portions={"updated": [rye_slice | {"product_id": oats["id"]}]},
        )

        assert errors_of(answer) == [("portions", rye_slice["id"], [("product_id", "fixed")])]
        assert live_rows(api, "portions")[rye_slice["id"]] == rye_slice


class TestRowsOfAnotherDevice:
    def test_can_not_be_changed_by_their_ids(self, api, other_api, rye, rye_slice, lunch):
        before = pull_changes(api)
        mine = product(id=rye["id"], name="Mine")

        answer = push_ok(
            other_api,
            products={"created": [mine], "deleted": []},
            portions={"updated": [rye_slice | {"name": "Mine"}]},
            food_entries={"deleted": [lunch["id"]]},
        )

        assert errors_of(answer) == [
            ("products", rye["id"], [("id", "taken")]),
            ("portions", rye_slice["id"], [("product_id", "does_not_exist")]),
        ]
        assert pull_changes(api) == before
        assert all(changes["updated"] == [] for changes in pull_changes(other_api)["changes"].values())

    def test_can_not_be_referred_to(self, other_api, rye, rye_slice):
        row = entry(rye, portion_id=rye_slice["id"], quantity=1)

        assert errors_of(push_ok(other_api, food_entries={"created": [row]})) == [
            ("food_entries", row["id"], [("product_id", "does_not_exist")])
        ]


class TestBarcodes:
    OTHER = "96385074"

    def test_can_be_swapped(self, api, rye):
        oats = product(name="Oats", barcode=self.OTHER)
        push_ok(api, revision(api), products={"created": [oats]})
        swapped = [rye | {"barcode": self.OTHER}, oats | {"barcode": rye["barcode"]}]

        assert push_ok(api, revision(api), products={"updated": swapped}) == ALL_STORED
        assert {row["id"]: row["barcode"] for row in live_rows(api, "products").values()} == {
            rye["id"]: self.OTHER,
            oats["id"]: rye["barcode"],
        }

    def test_can_move_from_a_deleted_product_to_a_new_one(self, api, rye):
        successor = product(name="Successor", barcode=rye["barcode"])

        assert push_ok(api, revision(api), products={"created": [successor], "deleted": [rye["id"]]}) == ALL_STORED
        assert live_rows(api, "products") == {successor["id"]: successor}

    def test_go_to_the_first_product_in_the_order_sent(self, api):
        first, second = product(barcode=self.OTHER), product(barcode=self.OTHER)

        answer = push_ok(api, products={"created": [first], "updated": [second]})

        assert errors_of(answer) == [("products", second["id"], [("barcode", "unique")])]
        assert list(live_rows(api, "products")) == [first["id"]]

    def test_stay_with_the_stored_product(self, api, rye):
        row = product(barcode=rye["barcode"])

        answer = push_ok(api, revision(api), products={"created": [row]})

        assert errors_of(answer) == [("products", row["id"], [("barcode", "unique")])]


class TestDefaultPortion:
    def defaults(self, api, of: dict) -> list[str]:
        return [
            row["name"]
            for row in live_rows(api, "portions").values()
            if row["product_id"] == of["id"] and row["is_default"]
        ]

    def test_is_created_for_a_product_without_portions(self, api):
        row = product()

        push_ok(api, products={"created": [row]})

        (made,) = live_rows(api, "portions").values()
        assert made == {"id": made["id"], "product_id": row["id"], "name": "100g", "grams": 100, "is_default": True}

    def test_is_the_oldest_if_none_claims_it(self, api):
        row = product()

        push_ok(
            api, products={"created": [row]}, portions={"created": [portion(row, name="A"), portion(row, name="B")]}
        )

        assert self.defaults(api, row) == ["A"]

    def test_is_the_last_one_that_claims_it(self, api, rye):
        new = [portion(rye, name=name, is_default=True) for name in ("A", "B")]

        push_ok(api, revision(api), portions={"created": new})

        assert self.defaults(api, rye) == ["B"]

    def test_stays_the_default_if_it_gives_that_up(self, api, rye, rye_slice):
        since = revision(api)

        assert push_ok(api, since, portions={"updated": [rye_slice | {"is_default": False}]}) == ALL_STORED
        assert self.defaults(api, rye) == ["Slice"]
        assert pull_changes(api, since)["changes"]["portions"]["updated"] == [rye_slice]

    def test_is_the_oldest_after_the_default_is_deleted(self, api, rye, rye_slice):
        new = [portion(rye, name=name) for name in ("A", "B")]
        push_ok(api, revision(api), portions={"created": new})

        push_ok(api, revision(api), portions={"deleted": [rye_slice["id"]]})

        assert self.defaults(api, rye) == ["A"]

    def test_is_created_after_the_last_portion_is_deleted(self, api, rye, rye_slice):
        push_ok(api, revision(api), portions={"deleted": [rye_slice["id"]]})

        assert self.defaults(api, rye) == ["100g"]

    def test_can_change_and_change_back(self, api, rye, rye_slice):
        other = portion(rye, name="A", is_default=True)
        push_ok(api, revision(api), portions={"created": [other]})
        assert self.defaults(api, rye) == ["A"]

        push_ok(api, revision(api), portions={"updated": [rye_slice, other | {"is_default": False}]})

        assert self.defaults(api, rye) == ["Slice"]


class TestPortionOfADeletedProduct:
    def test_is_stored_as_a_tombstone(self, api, rye, rye_slice):
        api.delete(f"/v1/products/{rye['id']}")
        since, row = revision(api), portion(rye)

        assert push_ok(api, since, portions={"created": [row]}) == ALL_STORED
        assert pull_changes(api, since)["changes"]["portions"] == {"created": [], "updated": [], "deleted": [row["id"]]}

    def test_is_deleted_if_the_same_push_updates_it(self, api, rye, rye_slice):
        since = revision(api)

        push_ok(api, since, products={"deleted": [rye["id"]]}, portions={"updated": [rye_slice | {"name": "Crumb"}]})

        assert live_rows(api, "portions") == {}


class TestEntry:
    def test_gets_the_products_name_and_values_if_it_is_new(self, api, rye):
        row = entry(rye) | {
            "product_name": "Lies",
            "kcal": 1,
            "protein": 1,
            "carbs": 1,
            "fat": 1,
            "sugars": 1,
            "unit": "ml",
        }

        push_ok(api, revision(api), food_entries={"created": [row]})

        row |= {"portion_name": None, "portion_grams": None}
        totals = {"product_name": "Rye bread", "kcal": 181.3, "protein": 5.95, "carbs": 33.81, "fat": None}
        totals |= {"unit": "g", "sugars": 2.7, "saturated_fat": None, "fiber": 0, "salt": 1.06}
        assert live_rows(api, "food_entries") == {row["id"]: row | totals}

    def test_keeps_them_if_the_product_changes(self, api, rye, lunch):
        push_ok(api, revision(api), products={"updated": [rye | {"name": "New", "kcal_100g": 1}]})

        push_ok(api, revision(api), food_entries={"updated": [lunch | {"grams": 140}]})

        assert live_rows(api, "food_entries")[lunch["id"]]["product_name"] == "Rye bread"
        assert live_rows(api, "food_entries")[lunch["id"]]["kcal"] == 362.6

    def test_gets_new_ones_if_it_gets_another_product(self, api, rye, lunch):
        oats = product(name="Oats", kcal_100g=370)

        push_ok(
            api,
            revision(api),
            products={"created": [oats]},
            food_entries={"updated": [lunch | {"product_id": oats["id"]}]},
        )

        found = live_rows(api, "food_entries")[lunch["id"]]
        assert (found["product_name"], found["kcal"]) == ("Oats", 259)

    def test_is_in_the_next_pull_if_the_client_sent_a_wrong_total(self, api, lunch):
        since = revision(api)

        push_ok(api, since, food_entries={"updated": [lunch | {"kcal": 5}]})

        assert pull_changes(api, since)["changes"]["food_entries"]["updated"] == [lunch]

    def test_can_refer_to_a_deleted_product_and_portion(self, api, rye, rye_slice):
        api.delete(f"/v1/products/{rye['id']}")
        row = entry(rye, portion_id=rye_slice["id"], quantity=2, grams=71)

        assert push_ok(api, revision(api), food_entries={"created": [row]}) == ALL_STORED
        assert list(live_rows(api, "food_entries")) == [row["id"]]

    @pytest.mark.parametrize("sent", [{}, {"time": None}, {"time": ""}])
    def test_has_no_time_if_it_is_missing_or_empty(self, api, rye, sent):
        row = {name: value for name, value in entry(rye).items() if name != "time"} | sent

        assert push_ok(api, revision(api), food_entries={"created": [row]}) == ALL_STORED
        assert live_rows(api, "food_entries")[row["id"]]["time"] is None

    @pytest.mark.parametrize(("sent", "stored"), [("07:30", "07:30:00.000"), ("", None)])
    def test_is_in_the_next_pull_if_its_time_had_another_form(self, api, lunch, sent, stored):
        push_ok(api, revision(api), food_entries={"updated": [lunch | {"time": stored}]})
        since = revision(api)

        push_ok(api, since, food_entries={"updated": [lunch | {"time": sent}]})

        (row,) = pull_changes(api, since)["changes"]["food_entries"]["updated"]
        assert row == lunch | {"time": stored}

    def test_is_not_stored_again_if_its_time_is_the_same(self, api, rye, all_rows):
        row = entry(rye, time="07:30:00.000")
        push_ok(api, revision(api), food_entries={"created": [row]})
        before = all_rows()

        push_ok(api, revision(api), food_entries={"updated": [row]})

        assert all_rows() == before

    @pytest.mark.parametrize("sent", [{}, {"meal_type": ""}, {"meal_type": None}, {"meal_type": "  "}])
    def test_is_a_snack_if_its_meal_is_missing_or_empty(self, api, rye, sent):
        row = {name: value for name, value in entry(rye).items() if name != "meal_type"} | sent

        assert push_ok(api, revision(api), food_entries={"created": [row]}) == ALL_STORED
        assert live_rows(api, "food_entries")[row["id"]]["meal_type"] == "snacks"

    @pytest.mark.parametrize("empty", ["", None])
    def test_keeps_its_meal_if_an_empty_one_is_sent(self, api, lunch, empty):
        since = revision(api)

        assert push_ok(api, since, food_entries={"updated": [lunch | {"meal_type": empty}]}) == ALL_STORED
        assert pull_changes(api, since)["changes"]["food_entries"]["updated"] == [lunch]

    @pytest.mark.parametrize(("sent", "stored"), [("LUNCH", "lunch"), ("Brunch", "Brunch"), (" Brunch", "Brunch")])
    def test_can_be_of_any_meal(self, api, lunch, sent, stored):
        since = revision(api)
        push_ok(api, since, food_entries={"updated": [lunch | {"meal_type": sent}]})

        (row,) = pull_changes(api, since)["changes"]["food_entries"]["updated"]
        assert row["meal_type"] == stored

    def test_gets_the_portions_name_and_weight_if_it_is_new(self, api, rye, rye_slice):
        lies = {"portion_name": "Lies", "portion_grams": 1}
        row = entry(rye, portion_id=rye_slice["id"], quantity=2, grams=80) | lies

        push_ok(api, revision(api), food_entries={"created": [row]})

        found = live_rows(api, "food_entries")[row["id"]]
        assert (found["portion_name"], found["portion_grams"], found["grams"]) == ("Slice", 35.5, 80)

    def test_keeps_them_if_the_portion_changes(self, api, rye, rye_slice):
        row = entry(rye, portion_id=rye_slice["id"], quantity=2, grams=71)
        push_ok(api, revision(api), food_entries={"created": [row]})

        push_ok(
            api,
            revision(api),
            portions={"updated": [rye_slice | {"name": "Crumb", "grams": 1}]},
            food_entries={"updated": [row | {"quantity": 3, "grams": 106.5}]},
        )

        found = live_rows(api, "food_entries")[row["id"]]
        assert (found["portion_name"], found["portion_grams"], found["grams"]) == ("Slice", 35.5, 106.5)

    def test_gets_others_with_another_portion_and_none_without(self, api, rye, rye_slice, lunch):
        loaf = portion(rye, name="Loaf", grams=500)
        push_ok(api, revision(api), portions={"created": [loaf]})
        found = []

        for portion_id in (rye_slice["id"], loaf["id"], None):
            quantity = 1 if portion_id else None
            row = lunch | {"portion_id": portion_id, "quantity": quantity}
            push_ok(api, revision(api), food_entries={"updated": [row]})
            found.append(live_rows(api, "food_entries")[lunch["id"]])

        assert [(row["portion_name"], row["portion_grams"]) for row in found] == [
            ("Slice", 35.5),
            ("Loaf", 500),
            (None, None),
        ]

    def test_keeps_its_grams_if_the_portion_has_others(self, api, rye, rye_slice):
        row = entry(rye, portion_id=rye_slice["id"], quantity=2, grams=80)

        push_ok(api, revision(api), food_entries={"created": [row]})

        assert live_rows(api, "food_entries")[row["id"]]["grams"] == 80


class TestColumnsOfAnEntryThatDontFit:
    """The client library merges column by column, so that two phones can make a row that neither of them meant."""

    NO_PORTION = {"portion_id": None, "portion_name": None, "portion_grams": None, "quantity": None}

    @pytest.fixture
    def sliced(self, api, rye, rye_slice) -> dict:
        row = entry(rye, portion_id=rye_slice["id"], quantity=2, grams=71)
        push_ok(api, revision(api), food_entries={"created": [row]})
        return live_rows(api, "food_entries")[row["id"]]

    @pytest.fixture
    def oats(self, api, rye) -> dict:
        row = product(name="Oats")
        push_ok(api, revision(api), products={"created": [row]})
        return row

    def push_and_pull(self, api, kind: str, row: dict) -> dict:
        """Push a row, and return it as all phones get it with their next pull."""
        since = revision(api)
        assert push_ok(api, since, food_entries={kind: [row]}) == ALL_STORED
        (pulled,) = pull_changes(api, since)["changes"]["food_entries"]["updated"]
        return pulled

    @pytest.mark.parametrize("portion_of", ["other product", "none"])
    def test_are_dropped_from_a_new_entry(self, api, rye, rye_slice, oats, portion_of):
        portion_id = rye_slice["id"] if portion_of == "other product" else None
        row = entry(oats, portion_id=portion_id, quantity=2, grams=71)

        pulled = self.push_and_pull(api, "created", row)

        assert pulled.items() >= (row | self.NO_PORTION).items()

    def test_are_dropped_if_another_product_comes_with_the_old_portion(self, api, sliced, oats):
        pulled = self.push_and_pull(api, "updated", sliced | {"product_id": oats["id"]})

        assert (
            pulled.items()
            >= ({"product_id": oats["id"], "product_name": "Oats", "grams": 71} | self.NO_PORTION).items()
        )

    @pytest.mark.parametrize("sent", [{}, {"quantity": 3}])
    def test_are_dropped_if_only_the_product_is_sent(self, api, sliced, oats, sent):
        pulled = self.push_and_pull(api, "updated", {"id": sliced["id"], "product_id": oats["id"]} | sent)

        assert pulled.items() >= ({"product_id": oats["id"], "grams": 71} | self.NO_PORTION).items()

    def test_are_dropped_if_only_another_products_portion_is_sent(self, api, rye_slice, oats, sliced):
        cup = portion(oats, name="Cup")
        push_ok(api, revision(api), portions={"created": [cup]})

        pulled = self.push_and_pull(api, "updated", {"id": sliced["id"], "portion_id": cup["id"], "quantity": 1})

        assert pulled == sliced | self.NO_PORTION

    def test_are_dropped_if_a_quantity_comes_without_a_portion(self, api, lunch):
        assert self.push_and_pull(api, "updated", lunch | {"quantity": 2}) == lunch

    def test_are_dropped_if_the_portion_is_removed_and_the_quantity_stays(self, api, sliced):
        assert self.push_and_pull(api, "updated", sliced | {"portion_id": None}) == sliced | self.NO_PORTION

    def test_take_the_stored_grams_if_they_are_null(self, api, lunch):
        assert self.push_and_pull(api, "updated", lunch | {"grams": None}) == lunch
        assert self.push_and_pull(api, "updated", lunch | {"grams": None, "time": "12:00:00.000"})["grams"] == 70

    def test_are_stored_if_product_and_portion_change_together(self, api, sliced, oats):
        cup = portion(oats, name="Cup", grams=80)
        push_ok(api, revision(api), portions={"created": [cup]})
        row = sliced | {"product_id": oats["id"], "portion_id": cup["id"], "quantity": 1, "grams": 80}

        pulled = self.push_and_pull(api, "updated", row)

        assert (pulled["portion_id"], pulled["portion_name"], pulled["quantity"]) == (cup["id"], "Cup", 1)

    def test_are_corrected_on_both_phones_that_have_made_the_row_together(self, api, rye, rye_slice, sliced, oats):
        first, second = Install(api), Install(api)
        first.pull()
        second.pull()
        first.edit("food_entries", sliced["id"], product_id=oats["id"], portion_id=None, quantity=None, grams=50)
        second.edit("food_entries", sliced["id"], quantity=3, grams=106.5)

        assert first.sync()
        assert second.sync()
        assert first.sync()
        assert second.sync()

        (stored,) = live_rows(api, "food_entries").values()
        assert stored.items() >= ({"product_id": oats["id"], "grams": 106.5} | self.NO_PORTION).items()
        assert [install.synced()["food_entries"] for install in (first, second)] == [{sliced["id"]: stored}] * 2


class TestPush:
    def test_can_be_retried(self, api):
        row = product()
        body = {
            "products": {"created": [row]},
            "portions": {"created": [portion(row, is_default=True), portion(row, name="Loaf", grams=500)]},
            "food_entries": {"created": [entry(row)]},
        }
        push_ok(api, 1, **body)
        before = pull_changes(api)

        assert push_ok(api, 1, **body) == ALL_STORED
        assert pull_changes(api) == before

    def test_takes_one_revision(self, api):
        row = product()

        push_ok(api, products={"created": [row]}, food_entries={"created": [entry(row), entry(row)]})

        assert revision(api) == 2

    def test_sets_created_at_in_the_order_sent(self, api, rye):
        rows = [entry(rye, grams=grams) for grams in (1, 2, 3)]

        push_ok(api, revision(api), food_entries={"created": rows})

        listed = api.get("/v1/food-entries?date=2026-01-05").json()
        assert [row["id"] for row in listed] == [row["id"] for row in rows]

    @pytest.mark.parametrize(
        ("body", "loc"),
        [
            ([], []),
            ({"products": []}, ["products"]),
            ({"products": {"created": {}}}, ["products", "created"]),
            ({"products": {"updated": [5]}}, ["products", "updated", 0]),
            ({"products": {"created": [{}]}}, ["products", "created", 0, "id"]),
            ({"portions": {"created": [{"id": 7}]}}, ["portions", "created", 0, "id"]),
            ({"food_entries": {"deleted": [None]}}, ["food_entries", "deleted", 0]),
            ({"food_entries": {"deleted": "x"}}, ["food_entries", "deleted"]),
        ],
    )
    def test_returns_422_if_the_structure_is_wrong(self, api, device, all_rows, body, loc):
        before = all_rows()

        response = api.post("/v1/sync", body)

        assert response.status_code == 422
        assert [error["loc"] for error in response.json()["errors"]] == [loc]
        assert all_rows() == before

    def test_needs_no_more_queries_for_more_rows(self, api, rye, django_assert_max_num_queries):
        since = revision(api)
        new = [product() for _ in range(300)]
        with django_assert_max_num_queries(32):
            answer = push_ok(
                api,
                since,
                products={"created": new, "updated": [rye | {"name": "Oats"}]},
                portions={"created": [portion(row, is_default=True) for row in new for _ in range(2)]},
                food_entries={"created": [entry(row) for row in new for _ in range(2)]},
            )

        assert answer == ALL_STORED

    def test_needs_no_more_queries_for_more_edits_and_deletions(self, api, django_assert_max_num_queries):
        products = [product() for _ in range(500)]
        portions, entries = [portion(row) for row in products], [entry(row) for row in products]
        rows = {"products": products, "portions": portions, "food_entries": entries}
        edited = {name: [row | {"name": "Oats", "grams": 7} for row in each] for name, each in rows.items()}
        gone = {name: [row["id"] for row in each] for name, each in rows.items()}

        for kind, tables in (("created", rows), ("updated", edited), ("deleted", gone)):
            since = revision(api)
            with django_assert_max_num_queries(32):
                answer = push_ok(api, since, **{name: {kind: each} for name, each in tables.items()})

            assert answer == ALL_STORED

    def test_needs_a_token(self, anonymous, db):
        assert anonymous.post("/v1/sync", {}).status_code == 401
        assert anonymous.get("/v1/sync").status_code == 401

    def test_can_be_larger_than_other_request_bodies(self, api, settings):
        row = product() | {"note": "x" * settings.MAX_BODY}

        assert push_ok(api, products={"created": [row]}) == ALL_STORED

    def test_has_its_own_size_limit(self, api, settings, all_rows):
        settings.SYNC_MAX_BODY = 2000
        before = all_rows()

        response = push(api, products={"created": [product() | {"note": "x" * 2000}]})

        assert response.status_code == 413
        assert response.json() == {"detail": "The body is larger than 2000 bytes."}
        assert all_rows() == before
