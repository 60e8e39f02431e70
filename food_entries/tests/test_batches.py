"""Batches: several entries in one request, stored completely or not at all."""

from decimal import Decimal
from uuid import uuid4

import pytest

from food_entries.models import FoodEntry
from food_entries.tests.factories import FoodEntryFactory
from products.tests.factories import PortionFactory, ProductFactory
from tests.harness.errors import NO_PRODUCT, id_taken_body, validation_error_body

ENTRIES = "/v1/food-entries"
BATCH = f"{ENTRIES}/batch"


@pytest.fixture
def bite(rye) -> dict:
    """The request body of an entry."""
    return {"product_id": str(rye.pk), "grams": 71, "date": "2026-01-05"}


def with_ids(*entries: dict) -> list[dict]:
    return [{"id": str(uuid4()), **entry} for entry in entries]


class TestABatch:
    def test_is_stored_completely(self, api, device, rye, rye_slice, oats, bite):
        sent = with_ids(
            bite,
            {"product_id": str(rye.pk), "portion_id": str(rye_slice.pk), "quantity": 2, "date": "2026-01-06"},
            {"product_id": str(oats.pk), "grams": 50, "date": "2026-01-04", "meal_type": "breakfast"},
        )
        device.refresh_from_db()
        revision = device.revision

        response = api.post(BATCH, sent)

        device.refresh_from_db()
        assert response.status_code == 201
        assert [row["id"] for row in response.json()] == [entry["id"] for entry in sent]
        assert [row["product_name"] for row in response.json()] == ["Rye bread", "Rye bread", "Oats"]
        assert [row["quantity"] for row in response.json()] == [None, 2.0, None]
        assert [row["kcal"] for row in response.json()] == [183.89, 183.89, 185.0]
        assert [row["meal_type"] for row in response.json()] == ["snacks", "snacks", "breakfast"]
        assert [api.get(f"{ENTRIES}/{row['id']}").json() for row in response.json()] == response.json()
        assert device.revision == revision + 1
        assert {entry.revision for entry in device.food_entries.all()} == {device.revision}

    def test_gets_ids_if_none_are_sent(self, api, device, bite):
        response = api.post(BATCH, [bite, bite])

        assert response.status_code == 201
        assert len({row["id"] for row in response.json()}) == 2
        assert device.food_entries.count() == 2

    def test_gets_increasing_times_in_the_order_sent(self, api, bite):
        sent = with_ids(*[bite] * 100)

        response = api.post(BATCH, sent)

        times = [row["created_at"] for row in response.json()]
        assert response.status_code == 201
        assert [row["id"] for row in response.json()] == [entry["id"] for entry in sent]
        assert times == sorted(set(times))
        assert len(times) == 100
        assert api.get(f"{ENTRIES}?limit=200").json() == response.json()

    def test_can_have_one_entry(self, api, bite):
        response = api.post(BATCH, [bite])

        assert response.status_code == 201
        assert response.json() == api.get(ENTRIES).json()

    def test_can_be_empty(self, api, bite, all_rows):
        before = all_rows()

        response = api.post(BATCH, [])

        assert response.status_code == 200
        assert response.json() == []
        assert all_rows() == before

    @pytest.mark.parametrize("body", [{}, "entries", 7, True])
    def test_must_be_an_array(self, api, bite, all_rows, body):
        before = all_rows()

        responses = [api.post(BATCH, body), api.post(BATCH, bite)]

        assert {response.status_code for response in responses} == {422}
        assert [response.json() for response in responses] == [
            validation_error_body(("This is not an array.", "not_a_list"))
        ] * 2
        assert all_rows() == before

    @pytest.mark.parametrize("size", [0, 1, 2])
    def test_can_not_be_sent_to_the_address_of_one_entry(self, api, bite, all_rows, size):
        before = all_rows()

        response = api.post(ENTRIES, [bite] * size)

        assert response.status_code == 422
        assert [(error["loc"], error["type"]) for error in response.json()["errors"]] == [([], "invalid")]
        assert all_rows() == before

    @pytest.mark.parametrize("method", ["get", "put", "patch", "delete"])
    def test_can_only_be_posted(self, api, method):
        assert getattr(api, method)(BATCH).status_code == 405

    def test_needs_a_token(self, anonymous, bite, all_rows):
        before = all_rows()

        assert anonymous.post(BATCH, [bite]).status_code == 401
        assert all_rows() == before

    @pytest.mark.parametrize("are_new", [True, False], ids=["new", "stored"])
    def test_can_not_have_101_entries(self, api, bite, all_rows, are_new):
        sent = with_ids(*[bite] * 101)
        if not are_new:
            assert [api.post(BATCH, part).status_code for part in (sent[:100], sent[100:])] == [201, 201]
        before = all_rows()

        response = api.post(BATCH, sent)

        assert response.status_code == 422
        assert response.json() == validation_error_body(
            ("At most 100 entries are allowed in one request.", "max_length")
        )
        assert all_rows() == before

    def test_takes_few_queries_for_any_number_of_entries(self, api, device, django_assert_num_queries):
        portions = [PortionFactory(product=ProductFactory(device=device)) for _ in range(100)]
        sent = [
            {"id": str(uuid4()), "product_id": str(p.product_id), "portion_id": str(p.pk), "date": "2026-01-05"}
            for p in portions
        ]

        # the device of the token, SAVEPOINT, the revision, the known ids, the products, the portions, the entries,
        # the counters, RELEASE SAVEPOINT
        with django_assert_num_queries(9):
            one = api.post(BATCH, with_ids({**sent[0], "id": str(uuid4())}))
        with django_assert_num_queries(9):
            hundred = api.post(BATCH, sent)
        # the device of the token, SAVEPOINT, the revision, the known ids, ROLLBACK TO and RELEASE SAVEPOINT
        with django_assert_num_queries(6):
            again = api.post(BATCH, sent)

        assert (one.status_code, hundred.status_code, again.status_code) == (201, 201, 200)
        assert len({row["product_id"] for row in hundred.json()}) == 100
        assert again.json() == hundred.json()


class TestARefusedBatch:
    @pytest.mark.parametrize("position", [0, 1, 2])
    def test_stores_nothing(self, api, bite, all_rows, position):
        sent = with_ids(bite, bite, bite)
        sent[position]["grams"] = 0
        before = all_rows()

        response = api.post(BATCH, sent)

        assert response.status_code == 422
        assert response.json() == validation_error_body(
            (position, "grams", "Ensure this value is greater than or equal to 0.01.", "min_value")
        )
        assert all_rows() == before

    def test_lists_all_errors(self, api, rye, bite, all_rows):
        before = all_rows()

        response = api.post(
            BATCH,
            [
                {"date": "today"},
                bite,
                {**bite, "quantity": 2},
                {**bite, "product_id": str(uuid4())},
                {**bite, "id": "rye"},
                {**bite, "portion_id": str(rye.portions.get().pk)},
            ],
        )

        assert response.status_code == 422
        assert response.json() == validation_error_body(
            (0, "product_id", "This field is required.", "required"),
            (0, "date", "A date has the form YYYY-MM-DD.", "invalid"),
            (2, "quantity", "Not allowed without a portion.", "without_portion"),
            (3, *NO_PRODUCT),
            (4, "id", "Must be a valid UUID.", "invalid"),
            (5, "grams", "Not allowed together with `portion_id`; send `quantity`.", "with_portion"),
        )
        assert all_rows() == before

    def test_gets_the_same_error_for_any_product_not_of_the_caller(self, api, device, other_device, bite, all_rows):
        theirs, gone = ProductFactory(device=other_device), ProductFactory(device=device)
        api.delete(f"/v1/products/{gone.pk}")
        before = all_rows()

        responses = [
            api.post(BATCH, [bite, {**bite, "product_id": str(row_id)}]) for row_id in (theirs.pk, gone.pk, uuid4())
        ]

        assert {response.status_code for response in responses} == {422}
        assert len({response.content for response in responses}) == 1
        assert responses[0].json() == validation_error_body((1, *NO_PRODUCT))
        assert all_rows() == before

    @pytest.mark.parametrize("whose", ["mine, deleted", "theirs", "theirs, deleted"])
    def test_returns_409_if_an_id_is_taken(self, api, other_api, device, other_device, bite, all_rows, whose):
        taken = FoodEntryFactory(device=other_device if "theirs" in whose else device)
        if "deleted" in whose:
            (other_api if "theirs" in whose else api).delete(f"{ENTRIES}/{taken.pk}")
        before = all_rows()

        response = api.post(BATCH, [bite, {**bite, "id": str(taken.pk)}, bite])

        assert response.status_code == 409
        assert response.json() == id_taken_body(taken.pk)
        assert all_rows() == before


class TestRetryBatch:
    def test_returns_the_stored_entries(self, api, bite, all_rows):
        sent = with_ids(bite, {**bite, "grams": 100})
        first = api.post(BATCH, sent)
        before = all_rows()

        response = api.post(BATCH, sent)

        assert response.status_code == 200
        assert response.json() == first.json()
        assert all_rows() == before

    def test_returns_the_stored_entries_in_the_order_of_the_retry(self, api, bite):
        sent = with_ids(bite, {**bite, "grams": 100}, {**bite, "date": "2026-01-07"})
        first = api.post(BATCH, sent)

        response = api.post(BATCH, sent[::-1])

        assert response.status_code == 200
        assert response.json() == first.json()[::-1]

    def test_returns_the_stored_entries_whatever_else_is_sent(self, api, rye, bite, all_rows):
        sent = with_ids(bite, bite, bite)
        first = api.post(BATCH, sent)
        api.delete(f"/v1/products/{rye.pk}")
        before = all_rows()

        response = api.post(
            BATCH,
            [
                sent[0],
                {**sent[1], "grams": -1, "date": None, "product_id": str(uuid4())},
                {"id": sent[2]["id"].upper()},
            ],
        )

        assert response.status_code == 200
        assert response.json() == first.json()
        assert all_rows() == before

    def test_stores_only_the_new_entries(self, api, device, bite, oats):
        sent = with_ids(*[bite] * 5)
        stored = api.post(BATCH, sent[1:4:2]).json()
        changed = api.patch(f"{ENTRIES}/{sent[1]['id']}", {"grams": 1}).json()
        device.refresh_from_db()
        revision = device.revision

        response = api.post(BATCH, [entry | {"product_id": str(oats.pk)} for entry in sent])

        device.refresh_from_db()
        assert response.status_code == 201
        assert [row["id"] for row in response.json()] == [entry["id"] for entry in sent]
        assert response.json()[1] == changed
        assert response.json()[3] == stored[1]
        assert [row["product_name"] for row in response.json()] == ["Oats", "Rye bread", "Oats", "Rye bread", "Oats"]
        assert device.food_entries.count() == 5
        assert device.revision == revision + 1
        assert device.food_entries.filter(revision=device.revision).count() == 3

    def test_stores_nothing_if_a_new_entry_is_invalid(self, api, bite, all_rows):
        stored, new, bad = with_ids(bite, bite, {**bite, "grams": 0})
        api.post(BATCH, stored)
        before = all_rows()

        response = api.post(BATCH, [stored, new, bad])

        assert response.status_code == 422
        assert [error["loc"] for error in response.json()["errors"]] == [[2, "grams"]]
        assert all_rows() == before


class TestADuplicateIdInABatch:
    @pytest.mark.parametrize(
        "again", [{}, {"grams": 100}, {"grams": -1, "product_id": None}], ids=["same", "other", "bad"]
    )
    def test_is_one_entry(self, api, device, bite, again):
        (entry,) = with_ids(bite)

        response = api.post(BATCH, [entry, bite, {**entry, "id": entry["id"].upper(), **again}])

        first, _, last = response.json()
        assert response.status_code == 201
        assert first == last
        assert first["grams"] == 71.0
        assert device.food_entries.count() == 2
        assert FoodEntry.objects.for_device(device).get(pk=entry["id"]).grams == Decimal(71)

    def test_is_refused_if_its_first_entry_is_invalid(self, api, bite, all_rows):
        (entry,) = with_ids(bite)
        before = all_rows()

        response = api.post(BATCH, [{**entry, "grams": 0}, entry])

        assert response.status_code == 422
        assert [error["loc"] for error in response.json()["errors"]] == [[0, "grams"]]
        assert all_rows() == before
