"""`POST …/{id}/restore` of products and portions."""

from datetime import timedelta
from functools import partial

import pytest
from django.core.management import call_command
from django.utils import timezone

from ownership.models import change_set
from ownership.tests.counters import counted, counters
from products.models import Portion, Product
from products.tests.factories import PortionFactory, ProductFactory
from tests.harness.at_once import at_once, call, statuses
from tests.harness.errors import conflict_body
from tests.harness.sync import NOTHING, portion, pull_changes, push, push_ok

BARCODE = "4006381333931"


@pytest.fixture
def product(device) -> Product:
    return ProductFactory(device=device, name="Rye bread", barcode=BARCODE)


@pytest.fixture
def slice_(product) -> Portion:
    return PortionFactory(product=product, name="Slice")


def path(row) -> str:
    return f"/v1/{row._meta.db_table}/{row.pk}"


def delete(api, *rows) -> None:
    for row in rows:
        assert api.delete(path(row)).status_code == 204


def restore(api, row):
    return api.post(f"{path(row)}/restore")


def restored(api, row) -> dict:
    response = restore(api, row)
    assert response.status_code == 200, response.content
    return response.json()


def default_of(product: dict) -> list[str]:
    """Return the name of each default portion."""
    return [one["name"] for one in product["portions"] if one["is_default"]]


def names(product: dict) -> set[str]:
    return {one["name"] for one in product["portions"]}


def purge(device, *models) -> None:
    for model in models:
        model.all_objects.for_device(device).purge()


class TestRestoreProduct:
    def test_returns_it_as_it_was_with_its_portions(self, api, product, slice_):
        before = api.get(path(product)).json()
        delete(api, product)

        response = restore(api, product)

        now = api.get(path(product)).json()
        assert (response.status_code, response.json()) == (200, now)
        for row in (before, *before["portions"], now, *now["portions"]):
            row.pop("updated_at")
        assert now == before
        assert response["Cache-Control"] == "no-store"
        assert "ETag" not in response

    def test_needs_no_body_and_ignores_one(self, api, product):
        bodies = [("", ""), ("", "application/json"), ("{", "application/json"), ("x", "text/plain")]

        for body, content_type in bodies:
            delete(api, product)
            response = api.generic("POST", f"{path(product)}/restore", body, content_type=content_type)
            assert response.status_code == 200

    def test_returns_a_live_product_unchanged(self, api, product, slice_, all_rows):
        delete(api, product)
        first = restore(api, product)
        before = all_rows()

        again = restore(api, product)

        assert (again.status_code, again.content) == (200, first.content)
        assert all_rows() == before

    def test_uses_one_revision(self, api, device, product, slice_):
        delete(api, product)
        device.refresh_from_db()
        before = device.revision

        restore(api, product)

        device.refresh_from_db()
        rows = [Product.objects.get(pk=product.pk), *Portion.objects.filter(product=product)]
        assert [row.revision for row in rows] == [device.revision] * 3 == [before + 1] * 3

    def test_makes_as_few_queries_for_many_portions_as_for_one(self, api, product, django_assert_num_queries):
        for _ in range(5):
            PortionFactory(product=product)
        delete(api, product)

        # the token, the transaction (2), the revision, the product and its next default (2), the product and its
        # portions (2), the portions of the response
        with django_assert_num_queries(9):
            restore(api, product)

    def test_changes_the_etag(self, api, product):
        etag = api.get("/v1/products")["ETag"]
        delete(api, product)
        restore(api, product)

        assert api.get("/v1/products", headers={"If-None-Match": etag}).status_code == 200

    def test_does_not_include_a_portion_that_was_deleted_before(self, api, product, slice_):
        delete(api, slice_, product)

        assert names(restored(api, product)) == {"100g"}

    def test_includes_portions_deleted_by_the_same_push(self, api, product, slice_):
        cursor = pull_changes(api)["timestamp"]
        ids = [str(each.pk) for each in product.portions.all()]
        push_ok(api, cursor, products={"deleted": [str(product.pk)]}, portions={"deleted": ids})

        row = restored(api, product)

        assert names(row) == {"100g", "Slice"}
        assert default_of(row) == ["100g"]

    def test_includes_portions_if_its_tombstone_was_pushed_again(self, api, product, slice_):
        delete(api, product)
        cursor = pull_changes(api)["timestamp"]
        push_ok(api, cursor, products={"updated": [{"id": str(product.pk), "name": "Again", "kcal_100g": 1}]})
        revisions = {row.revision for row in (Product.all_objects.get(pk=product.pk), Portion.all_objects.first())}
        assert len(revisions) == 2

        assert names(restored(api, product)) == {"100g", "Slice"}

    def test_includes_portions_that_were_pushed_after_its_deletion(self, api, product):
        delete(api, product)
        pushed = portion({"id": str(product.pk)}, name="Crust", is_default=True)
        push_ok(api, pull_changes(api)["timestamp"], portions={"created": [pushed]})

        row = restored(api, product)

        assert names(row) == {"100g", "Crust"}
        assert default_of(row) == ["100g"]

    def test_makes_the_oldest_portion_the_default_if_the_default_stays_deleted(self, api, device, product, slice_):
        PortionFactory(product=product, name="Crust")
        delete(api, product.portions.get(is_default=True), product)
        with change_set(device):  # the state after a push that deletes the product and its portions
            Portion.all_objects.for_device(device).filter(product=product).update(is_default=False)

        row = restored(api, product)

        assert names(row) == {"Slice", "Crust"}
        assert default_of(row) == ["Slice"]

    def test_makes_one_portion_the_default_if_several_tombstones_are(self, api, product, slice_):
        first = product.portions.get(is_default=True)
        cursor = pull_changes(api)["timestamp"]
        push_ok(api, cursor, portions={"deleted": [str(first.pk)]})  # its tombstone stays the default
        cursor = pull_changes(api)["timestamp"]
        late = portion({"id": str(product.pk)}, name="Crust")
        push_ok(api, cursor, products={"deleted": [str(product.pk)]}, portions={"created": [late]})

        row = restored(api, product)

        assert names(row) == {"Slice", "Crust"}
        assert default_of(row) == ["Slice"]

    def test_can_be_repeated(self, api, product, slice_):
        for _ in range(3):
            delete(api, product)
            row = restored(api, product)

        assert names(row) == {"100g", "Slice"}
        assert default_of(row) == ["100g"]

    def test_returns_409_if_its_barcode_is_taken(self, api, device, product, all_rows):
        delete(api, product)
        holder = ProductFactory(device=device, barcode=BARCODE)
        before = all_rows()

        response = restore(api, product)

        assert response.status_code == 409
        assert response.json() == conflict_body("Another product has this barcode.", holder.pk)
        assert all_rows() == before

    def test_may_have_a_barcode_that_another_device_has(self, api, other_device, product):
        delete(api, product)
        ProductFactory(device=other_device, barcode=BARCODE)

        assert restored(api, product)["barcode"] == BARCODE


class TestARestoredProduct:
    def test_reaches_other_installs_as_updated(self, api, product, slice_):
        delete(api, product)
        cursor = pull_changes(api)["timestamp"]

        restore(api, product)

        changes = pull_changes(api, cursor)["changes"]
        assert [row["name"] for row in changes["products"]["updated"]] == ["Rye bread"]
        assert {row["name"] for row in changes["portions"]["updated"]} == {"100g", "Slice"}
        assert changes["products"]["deleted"] == changes["portions"]["deleted"] == []
        assert changes["food_entries"] == NOTHING

    @pytest.mark.parametrize("list_name", ["updated", "deleted"])
    def test_is_a_conflict_for_an_install_that_has_not_pulled_it(self, api, product, all_rows, list_name):
        delete(api, product)
        cursor = pull_changes(api)["timestamp"]
        restore(api, product)
        sent = {"updated": [{"id": str(product.pk), "name": "Theirs"}], "deleted": [str(product.pk)]}
        before = all_rows()

        response = push(api, cursor, products={list_name: sent[list_name]})

        assert response.status_code == 409
        assert response.json()["conflicts"] == {"products": [str(product.pk)]}
        assert all_rows() == before

    def test_can_be_deleted_and_changed_after_a_pull(self, api, product):
        delete(api, product)
        restore(api, product)

        push_ok(api, pull_changes(api)["timestamp"], products={"updated": [{"id": str(product.pk), "name": "Ours"}]})
        assert api.get(path(product)).json()["name"] == "Ours"
        push_ok(api, pull_changes(api)["timestamp"], products={"deleted": [str(product.pk)]})
        assert api.get(path(product)).status_code == 404


class TestTheQuotas:
    """Deleted rows count against the quotas, so a restored row is no new row."""

    def test_allow_a_restore_when_they_are_used_up(self, api, settings, device, product, slice_):
        delete(api, product)
        before = counters(device)
        settings.MAX_PRODUCTS = settings.MAX_PORTIONS = settings.NEW_ROWS_FIRST_DAY = 0
        settings.MAX_PORTIONS_PER_PRODUCT = 1

        assert restore(api, product).status_code == 200
        delete(api, slice_)
        assert restore(api, slice_).status_code == 200
        assert counters(device) == counted(device) == before

    def test_count_the_new_default_portion_of_a_product_whose_portions_were_purged(self, api, device, product, slice_):
        delete(api, product)
        purge(device, Portion)
        call_command("recount", verbosity=0)

        row = restored(api, product)

        assert [(one["name"], one["grams"], one["is_default"]) for one in row["portions"]] == [("100g", 100, True)]
        assert counters(device) == counted(device) == counters(device) | {"products": 1, "portions": 1}

    @pytest.mark.parametrize(("setting", "status"), [("MAX_PORTIONS", 507), ("NEW_ROWS_FIRST_DAY", 429)])
    def test_may_refuse_that_portion(self, api, settings, device, product, all_rows, setting, status):
        delete(api, product)
        purge(device, Portion)
        setattr(settings, setting, 0)
        before = all_rows()

        response = restore(api, product)

        assert response.status_code == status
        assert response.json()["detail"].startswith("A device can ")
        assert all_rows() == before


class TestRestorePortion:
    def test_returns_it_as_it_was(self, api, product, slice_):
        before = api.get(path(slice_)).json()
        delete(api, slice_)

        row = restored(api, slice_)

        assert row == api.get(path(slice_)).json() == before | {"updated_at": row["updated_at"]}
        assert row["updated_at"] is not None

    def test_returns_a_live_portion_unchanged(self, api, product, slice_, all_rows):
        before = all_rows()

        for row in (slice_, product.portions.get(is_default=True)):
            assert restored(api, row) == api.get(path(row)).json()
        assert all_rows() == before

    def test_does_not_make_it_the_default(self, api, product, slice_):
        first = product.portions.get(is_default=True)
        delete(api, first)
        cursor = pull_changes(api)["timestamp"]

        assert restored(api, first)["is_default"] is False

        changes = pull_changes(api, cursor)["changes"]["portions"]
        assert [(row["name"], row["is_default"]) for row in changes["updated"]] == [("100g", False)]
        assert default_of(api.get(path(product)).json()) == ["Slice"]

    def test_does_not_make_it_the_default_even_if_its_tombstone_is(self, api, product, slice_):
        first = product.portions.get(is_default=True)
        push_ok(api, pull_changes(api)["timestamp"], portions={"deleted": [str(first.pk)]})
        first.refresh_from_db()
        assert first.is_default

        assert restored(api, first)["is_default"] is False

        row = api.get(path(product)).json()
        assert default_of(row) == ["Slice"]
        assert names(row) == {"100g", "Slice"}

    def test_returns_409_if_its_product_is_deleted(self, api, product, slice_, all_rows):
        delete(api, product)
        before = all_rows()

        response = restore(api, slice_)

        assert response.status_code == 409
        assert response.json() == conflict_body("Its product is deleted. Restore the product first.")
        assert all_rows() == before

    def test_works_after_its_product_was_restored_without_it(self, api, product, slice_):
        delete(api, slice_, product)
        restore(api, product)

        restore(api, slice_)

        assert names(api.get(path(product)).json()) == {"100g", "Slice"}


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
class TestConcurrentCalls:
    """`tests/sync/test_pairs.py` tests each pair of calls."""

    def test_restore_and_purge_leave_a_complete_product_or_none(self, api, device, product):
        outcomes = set()
        for _ in range(5):
            delete(api, product)
            with change_set(device):
                for model in (Product, Portion):
                    rows = model.all_objects.for_device(device).exclude(deleted_at=None)
                    rows.update(deleted_at=timezone.now() - timedelta(days=200))
            purge_all = partial(call_command, "purge_tombstones", "--older-than", "180d", "--commit", verbosity=0)

            response, _ = at_once(call(api, "POST", f"{path(product)}/restore"), purge_all)

            there = api.get(path(product))
            outcomes.add((response.status_code, there.status_code))
            if there.status_code == 200:
                assert default_of(there.json()) == ["100g"]
            else:
                product = ProductFactory(device=device)

        assert outcomes <= {(200, 200), (404, 404)}

    def test_only_one_of_two_products_with_one_barcode_is_restored(self, api, device, product):
        delete(api, product)
        second = ProductFactory(device=device, barcode=BARCODE)
        delete(api, second)

        responses = at_once(*(call(api, "POST", f"{path(row)}/restore") for row in (product, second)))

        assert statuses(responses) == {200: 1, 409: 1}
        assert Product.objects.for_device(device).filter(barcode=BARCODE).count() == 1

    def test_restores_store_one_revision(self, api, device, product, slice_):
        delete(api, product)
        device.refresh_from_db()
        before = device.revision

        responses = at_once(*(call(api, "POST", f"{path(product)}/restore") for _ in range(8)))

        device.refresh_from_db()
        assert statuses(responses) == {200: 8}
        assert len({response.content for response in responses}) == 1
        assert device.revision == before + 1
