"""What holds when pushes, pulls and other requests meet at the same moment. Each has its own connection."""

from functools import partial

import pytest
from django.core.management import call_command

from ownership.models import owned_models
from products.models import Product
from sync.registry import tables
from tests.harness.at_once import at_once, sent_at_once, statuses
from tests.harness.sync import ALL_STORED, entry, live, portion, product, pulled, push, pushed, revision

pytestmark = [
    pytest.mark.postgres,
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("separate_workers"),
]

TURNS = 5  # who is first is a matter of luck
MANY = 1500


def of(phone):
    """Return a client of its own that speaks for the same device."""
    return type(phone)(phone.token)


def whole(name="Rye") -> dict:
    """Return a push of a product with all that belongs to it."""
    row = product(name=name)
    part = portion(row, is_default=True)
    return {
        "products": {"created": [row]},
        "portions": {"created": [part]},
        "food_entries": {"created": [entry(row, portion_id=part["id"], quantity=2) for _ in range(10)]},
    }


class TestPushesOfOneDevice:
    def test_that_are_the_same_store_everything_once(self, api, device):
        for _ in range(TURNS):
            body, since = whole(), revision(api)

            answers = sent_at_once(api, *[lambda phone, b=body, s=since: push(phone, s, **b)] * 6)

            assert statuses(answers) == {200: 6}
            assert [answer.json() for answer in answers] == [ALL_STORED] * 6
            assert revision(api) == since + 1

    def test_that_change_one_row_differently_are_stored_once_and_else_in_conflict(self, api):
        row = product()
        pushed(api, products={"created": [row]})
        for turn in range(TURNS):
            since = revision(api)

            answers = sent_at_once(
                api,
                *[
                    lambda phone, s=since, n=n, t=turn: push(
                        phone, s, products={"updated": [row | {"name": f"{t} {n}"}]}
                    )
                    for n in range(6)
                ],
            )

            assert statuses(answers) == {200: 1, 409: 5}
            (winner,) = [n for n, answer in enumerate(answers) if answer.status_code == 200]
            assert live(api, "products")[row["id"]]["name"] == f"{turn} {winner}"
            assert revision(api) == since + 1

    def test_and_rest_writes_are_all_kept(self, api):
        since = revision(api)
        bodies = [whole(f"Pushed {n}") for n in range(4)]

        answers = sent_at_once(
            api,
            *[lambda phone, b=body: push(phone, since, **b) for body in bodies],
            *[lambda phone, n=n: phone.post("/v1/products", {"name": f"Posted {n}", "kcal_100g": 1}) for n in range(4)],
        )

        assert statuses(answers) == {200: 4, 201: 4}
        assert revision(api) == since + 8
        assert len(live(api, "products")) == 8
        assert len(live(api, "food_entries")) == 40

    def test_that_claim_the_default_leave_one(self, api):
        row = product()
        pushed(api, products={"created": [row]})
        for _ in range(TURNS):
            since = revision(api)
            parts = [portion(row, name=f"Portion {n}", is_default=True) for n in range(5)]

            answers = sent_at_once(
                api, *[lambda phone, p=part, s=since: push(phone, s, portions={"created": [p]}) for part in parts]
            )

            assert statuses(answers) == {200: 5}
            assert sum(part["is_default"] for part in live(api, "portions").values()) == 1

    def test_that_want_one_barcode_leave_it_to_one(self, api):
        for _ in range(TURNS):
            since = revision(api)
            rows = [product(barcode="4006381333931") for _ in range(5)]

            answers = sent_at_once(
                api, *[lambda phone, r=row, s=since: push(phone, s, products={"created": [r]}) for row in rows]
            )

            assert statuses(answers) == {200: 5}
            assert sorted(len(answer.json()["rejected"]) for answer in answers) == [0, 1, 1, 1, 1]
            (holder,) = live(api, "products")
            pushed(api, revision(api), products={"deleted": [holder]})


class TestPushesOfTwoDevicesWithTheSameIds:
    def test_store_each_id_once_and_refuse_it_to_the_other_by_name(self, api, stranger):
        """So many, and in opposite orders, that both are at it when they meet."""
        for _ in range(TURNS):
            rows = [product() for _ in range(MANY)]

            mine, theirs = at_once(
                lambda r=rows: push(of(api), revision(api), products={"created": r}),
                lambda r=rows: push(of(stranger), revision(stranger), products={"created": r[::-1]}),
            )

            ids = {row["id"] for row in rows}
            stored = [ids & live(phone, "products").keys() for phone in (api, stranger)]
            refused = [set(answer.json()["experimentalRejectedIds"].get("products", ())) for answer in (mine, theirs)]
            assert (mine.status_code, theirs.status_code) == (200, 200)
            assert sorted(map(len, stored)) == [0, MANY]
            assert refused == [ids - of_one for of_one in stored]

    def test_in_every_table_do_not_wait_for_each_other(self, api, stranger):
        for _ in range(TURNS):
            body = whole()

            answers = at_once(
                lambda b=body: push(of(api), revision(api), **b),
                lambda b=body: push(of(stranger), revision(stranger), **b),
            )

            assert statuses(answers) == {200: 2}
            assert sorted(len(answer.json()["rejected"]) for answer in answers) == [0, 12]


class TestAPull:
    def test_shows_no_child_without_its_parent_and_no_number_without_its_rows(self, api):
        """Each push is one product with its portion and its entries: a pull has all of it, or nothing."""
        answers = sent_at_once(
            api,
            *[lambda phone, n=n: push(phone, 1, **whole(f"Rye {n}")) for n in range(4)],
            *[lambda phone: [pulled(phone) for _ in range(8)] for _ in range(4)],
        )

        assert statuses(answers[:4]) == {200: 4}
        for answer in (answer for of_one in answers[4:] for answer in of_one):
            rows = {name: changes["updated"] for name, changes in answer["changes"].items()}
            products = {row["id"] for row in rows["products"]}
            assert len(products) == answer["timestamp"] - 1
            assert [len(rows[table.name]) for table in tables()] == [len(products), len(products), 10 * len(products)]
            assert {row["product_id"] for row in rows["portions"] + rows["food_entries"]} == products

    def test_after_pull_adds_up_to_everything(self, api):
        """A phone that pulled all the while lacks nothing after one more pull."""

        def follow(phone, known: dict, since: int, times: int) -> tuple[dict, int]:
            for _ in range(times):
                answer = pulled(phone, since)
                assert answer.keys() == {"changes", "timestamp"}
                known |= {row["id"]: row for row in answer["changes"]["food_entries"]["updated"]}
                since = answer["timestamp"]
            return known, since

        *answers, followed = sent_at_once(
            api,
            *[lambda phone, n=n: push(phone, 1, **whole(f"Rye {n}")) for n in range(6)],
            lambda phone: follow(phone, {}, 0, times=15),
        )

        assert statuses(answers) == {200: 6}
        known, _ = follow(api, *followed, times=1)
        assert known == live(api, "food_entries")
        assert len(known) == 60


class TestDeletingTheDevice:
    def test_and_pushing_leave_no_row_that_is_not_erased(self, api, device):
        deleted, *answers = sent_at_once(
            api,
            lambda phone: phone.delete("/v1/devices/me"),
            *[lambda phone: push(phone, 1, **whole()) for _ in range(4)],
        )

        assert deleted.status_code == 204
        assert statuses(answers).keys() <= {200, 401}
        assert api.get("/v1/sync").status_code == 401
        call_command("erase")
        for model in owned_models():
            assert not model.all_objects.for_device(device).exists()


class TestRotating:
    def test_and_pushing_loses_nothing(self, api):
        rotated, *answers = sent_at_once(
            api,
            lambda phone: phone.post("/v1/auth/rotate"),
            *[lambda phone: push(phone, 1, **whole()) for _ in range(4)],
        )

        api.use(rotated.json()["token"])
        assert statuses(answers) == {200: 4}
        assert len(live(api, "products")) == 4


class TestAPurge:
    def test_and_pushes_that_revive_what_it_takes_leave_no_child_without_its_parent(self, api, device):
        """A product's tombstone goes, or a new entry keeps it: never both."""
        for _ in range(TURNS):
            row = product()
            pushed(api, revision(api), products={"created": [row]})
            pushed(api, revision(api), products={"deleted": [row["id"]]})
            since, new = revision(api), entry(row)

            answer, _ = at_once(
                partial(push, of(api), since, food_entries={"created": [new]}),
                partial(call_command, "purge_tombstones", "--older-than", "0d", "--commit", verbosity=0),
            )

            kept = Product.all_objects.for_device(device).filter(pk=row["id"])
            assert answer.status_code == 200
            assert kept.exists() == (new["id"] in live(api, "food_entries"))
            assert (answer.json() == ALL_STORED) == kept.exists()
