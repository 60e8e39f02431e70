import re
from datetime import timedelta
from functools import partial
from html import unescape

import pytest
from django.core.management import call_command
from django.utils import timezone

from ownership.models import change_set
from products.models import Portion, Product
from products.tests.factories import PortionFactory, ProductFactory
from support.models import AuditEntry
from support.tests import entries
from tests.harness.at_once import at_once
from tests.harness.sync import NOTHING, portion, pulled, pushed


@pytest.fixture
def product(device) -> Product:
    return ProductFactory(device=device, name="Rye bread", barcode="4006381333931")


@pytest.fixture
def slice_(product) -> Portion:
    return PortionFactory(product=product, name="Slice")


def page(row, act: str = "change") -> str:
    return f"/admin/products/{row._meta.model_name}/{row.pk}/{act}/"


def act(support, row, name: str, **sent):
    """Do it to the row as support sees it now."""
    seen = type(row).all_objects.get(pk=row.pk).revision
    return support.post(page(row, name), {"reason": "She asked for it.", "seen": seen, **sent}, follow=True)


def said(response) -> str:
    return unescape(response.content.decode())


def deleted(*rows) -> None:
    """Delete rows, each in a change set of its own."""
    for row in rows:
        with change_set(row.device):
            type(row).objects.for_device(row.device).get(pk=row.pk).soft_delete()


def default_portions(product) -> list[Portion]:
    return list(Portion.objects.for_device(product.device_id).filter(product=product, is_default=True))


def live(product) -> set[str]:
    return set(Portion.objects.for_device(product.device_id).filter(product=product).values_list("name", flat=True))


class TestARestoredProduct:
    def test_comes_back_to_the_phone_with_its_portions(self, support, api, product, slice_):
        deleted(product)
        cursor = pulled(api)["timestamp"]

        response = act(support, product, "restore")

        assert response.redirect_chain == [(page(product), 302)]
        assert "Restored." in said(response)
        told = pulled(api, cursor)["changes"]
        assert [row["name"] for row in told["products"]["updated"]] == ["Rye bread"]
        assert {row["name"]: row["is_default"] for row in told["portions"]["updated"]} == {"100g": True, "Slice": False}
        assert told["products"]["deleted"] == told["portions"]["deleted"] == []
        assert told["food_entries"] == NOTHING
        assert api.get(f"/v1/products/{product.pk}").json()["barcode"] == "4006381333931"

    def test_takes_one_revision_and_a_line_in_the_log(self, support, device, product, slice_):
        deleted(product)
        device.refresh_from_db()
        before = device.revision

        act(support, product, "restore")

        device.refresh_from_db()
        rows = [Product.objects.get(pk=product.pk), *Portion.objects.filter(product=product)]
        assert {row.revision for row in rows} == {device.revision} == {before + 1}
        assert entries.said() == ["Restored. She asked for it."]
        entry = AuditEntry.objects.latest("pk")
        assert (entry.user_name, entry.kind, entry.object_id) == ("ada", "products.product", str(product.pk))

    @pytest.mark.parametrize("setting", ["MAX_PORTIONS", "NEW_ROWS_FIRST_DAY"])
    def test_says_if_no_portion_may_be_made_for_it(self, support, settings, device, product, slice_, setting):
        deleted(product)
        Portion.all_objects.for_device(device).purge()
        setattr(settings, setting, 0)

        response = act(support, product, "restore")

        assert response.status_code == 200
        assert "A device can " in said(response)
        assert not Product.objects.filter(pk=product.pk).exists()

    def test_leaves_a_portion_deleted_that_went_before_it(self, support, product, slice_):
        deleted(slice_, product)

        act(support, product, "restore")

        assert live(product) == {"100g"}

    def test_brings_portions_of_a_push_that_deleted_both(self, support, api, product, slice_):
        cursor = pulled(api)["timestamp"]
        ids = [str(each.pk) for each in product.portions.all()]
        pushed(api, cursor, products={"deleted": [str(product.pk)]}, portions={"deleted": ids})

        act(support, product, "restore")

        assert live(product) == {"100g", "Slice"}
        assert [each.name for each in default_portions(product)] == ["100g"]

    def test_brings_portions_of_a_tombstone_that_was_pushed_once_more(self, support, api, product, slice_):
        deleted(product)
        cursor = pulled(api)["timestamp"]
        pushed(api, cursor, products={"updated": [{"id": str(product.pk), "name": "Again", "kcal_100g": 1}]})
        product.refresh_from_db()
        slice_.refresh_from_db()
        assert product.revision != slice_.revision

        act(support, product, "restore")

        assert live(product) == {"100g", "Slice"}

    def test_brings_portions_that_the_phone_made_when_it_was_deleted_already(self, support, api, product):
        deleted(product)
        pushed(api, pulled(api)["timestamp"], portions={"created": [portion({"id": str(product.pk)}, name="Crust")]})
        assert live(product) == set()

        act(support, product, "restore")

        assert live(product) == {"100g", "Crust"}

    def test_passes_the_default_to_the_oldest_where_the_portion_that_was_it_is_gone(self, support, device, product):
        PortionFactory(product=product, name="Slice")
        PortionFactory(product=product, name="Crust")
        with change_set(device):
            for row in product.portions.filter(is_default=True):
                row.soft_delete()
        deleted(product)
        with change_set(device):  # as a push leaves them that deletes both
            Portion.all_objects.for_device(device).filter(product=product).update(is_default=False)

        act(support, product, "restore")

        assert live(product) == {"Slice", "Crust"}
        assert [each.name for each in default_portions(product)] == ["Slice"]

    def test_is_refused_where_its_barcode_is_taken_by_now(self, support, device, product, everything):
        deleted(product)
        ProductFactory(device=device, barcode=product.barcode)
        before = everything()

        response = act(support, product, "restore")

        assert response.status_code == 200
        assert "Another product has this barcode. Nothing was changed." in said(response)
        assert "She asked for it." in said(response)
        assert everything() == before
        assert entries.said() == []

    def test_may_have_a_barcode_that_another_device_has(self, support, other, product):
        deleted(product)
        ProductFactory(device=other, barcode=product.barcode)

        assert act(support, product, "restore").redirect_chain

    @pytest.mark.parametrize("deleted_before", [True, False])
    def test_was_deleted_as_support_saw_it(self, support, api, product, everything, deleted_before):
        """What was opened before the phone wrote the same row is shown anew, and asked for again."""
        name = "restore" if deleted_before else "soft-delete"
        if deleted_before:
            deleted(product)
        seen = Product.all_objects.get(pk=product.pk).revision
        if deleted_before:
            pushed(api, pulled(api)["timestamp"], products={"updated": [{"id": str(product.pk), "name": "Again"}]})
        else:
            api.patch(f"/v1/products/{product.pk}", {"name": "Other"})
        before = everything()

        response = act(support, product, name, seen=seen)

        assert "It has changed since you opened it, and is shown as it is now." in said(response)
        assert everything() == before
        assert f'name="seen" value="{seen}"' not in said(response)

    def test_is_gone_for_good_once_it_was_purged(self, support, device, product):
        deleted(product)
        seen = Product.all_objects.get(pk=product.pk).revision
        Portion.all_objects.for_device(device).filter(product=product).purge()
        Product.all_objects.for_device(device).filter(pk=product.pk).purge()

        response = support.post(page(product, "restore"), {"reason": "x", "seen": seen}, follow=True)

        assert response.redirect_chain == [("/admin/", 302)]
        assert "This product doesn't exist." in said(response)

    def test_is_restored_once(self, support, product, everything):
        deleted(product)
        act(support, product, "restore")
        before = everything()

        again = act(support, product, "restore")

        assert "Nothing was changed." in said(again)
        assert everything() == before
        assert len(entries.said()) == 1


class TestAProductsPage:
    def test_leads_to_its_portions_deleted_ones_too(self, support, product, slice_, django_assert_num_queries):
        deleted(slice_)
        PortionFactory(product=product, name="Crust")

        # who, the product, its device, its portions, the entry of the audit log
        with django_assert_num_queries(10):
            shown = said(support.get(page(product)))

        portions = list(re.findall(r'portion/[0-9a-f-]{36}/change/">(.+?)</p>', shown))
        assert portions == ["100g</a>, 100.00 g (default)", "Crust</a>, 40.00 g", "Slice</a>, 40.00 g (deleted)"]
        assert page(slice_) in shown

    def test_shows_names_as_they_are(self, support, device):
        product = ProductFactory(device=device, name="<script>alert(1)</script>")
        PortionFactory(product=product, name="<b>Slice")

        listed = support.get("/admin/products/product/", {"device__id__exact": device.pk}).content.decode()
        shown = support.get(page(product)).content.decode()
        stale = support.post(page(product), {"name": "<i>", "seen": 1, "reason": "x"}, follow=True).content.decode()

        assert "<b>Slice" not in shown
        assert "&lt;b&gt;Slice" in shown
        assert "<script>alert" not in listed + shown + stale
        assert "Nothing was saved." in stale


class TestADeletedProduct:
    def test_goes_from_the_phone_with_its_portions(self, support, api, product, slice_):
        cursor = pulled(api)["timestamp"]

        act(support, product, "soft-delete")

        told = pulled(api, cursor)["changes"]
        assert told["products"]["deleted"] == [str(product.pk)]
        assert set(told["portions"]["deleted"]) == {
            str(each.pk) for each in Portion.all_objects.filter(product=product)
        }
        assert entries.said() == ["Deleted. She asked for it."]

    def test_is_not_deleted_again(self, support, product, everything):
        deleted(product)
        before = everything()

        assert "Nothing was changed." in said(act(support, product, "soft-delete"))
        assert everything() == before

    def test_is_not_removed_for_good(self, support, product):
        assert support.post(page(product, "delete"), {"post": "yes"}).status_code == 403
        assert Product.objects.filter(pk=product.pk).exists()


class TestARestoredPortion:
    def test_comes_back_beside_the_default(self, support, api, product, slice_):
        first = product.portions.get(is_default=True)
        deleted(first)
        cursor = pulled(api)["timestamp"]

        act(support, first, "restore")

        told = pulled(api, cursor)["changes"]["portions"]["updated"]
        assert [(row["name"], row["is_default"]) for row in told] == [("100g", False)]
        assert default_portions(product) == [slice_]

    def test_comes_back_beside_the_default_though_a_push_left_it_one(self, support, api, product, slice_):
        first = product.portions.get(is_default=True)
        pushed(api, pulled(api)["timestamp"], portions={"deleted": [str(first.pk)]})
        first.refresh_from_db()
        assert first.is_default

        act(support, first, "restore")

        assert default_portions(product) == [slice_]
        assert live(product) == {"100g", "Slice"}

    def test_needs_a_live_product(self, support, product, slice_, everything):
        deleted(slice_, product)
        before = everything()

        response = act(support, slice_, "restore")

        assert "Its product is deleted. Restore the product first." in said(response)
        assert everything() == before

    def test_was_not_the_only_one_when_it_was_deleted(self, support, product, everything):
        before = everything()

        response = act(support, product.portions.get(), "soft-delete")

        assert "The only portion of a product can't be deleted. Nothing was changed." in said(response)
        assert everything() == before


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
class TestAtTheSameMoment:
    def test_a_restore_and_a_purge_leave_all_or_nothing(self, support, device, product):
        for _ in range(5):
            deleted(product)
            with change_set(device):
                for model in (Product, Portion):
                    rows = model.all_objects.for_device(device).exclude(deleted_at=None)
                    rows.update(deleted_at=timezone.now() - timedelta(days=200))
            purge = partial(call_command, "purge_tombstones", "--older-than", "180d", "--commit", verbosity=0)

            restored, _ = at_once(partial(act, support, product, "restore"), purge)

            assert restored.status_code == 200
            there = Product.all_objects.filter(pk=product.pk).first()
            assert there is None or (there.deleted_at is None and len(default_portions(product)) == 1)
            if there is None:
                product = ProductFactory(device=device, name="Rye bread")

    def test_two_who_restore_one_barcode_leave_one_product(self, support, device, product):
        deleted(product)
        second = ProductFactory(device=device, barcode=product.barcode)
        deleted(second)

        answers = at_once(*(partial(act, support, row, "restore") for row in (product, second)))

        assert sorted(bool(answer.redirect_chain) for answer in answers) == [False, True]
        assert Product.objects.for_device(device).filter(barcode=product.barcode).count() == 1

    def test_a_restore_and_the_phone_lose_neither_write(self, support, api, product, slice_):
        deleted(product)
        cursor = pulled(api)["timestamp"]
        theirs = {"id": str(product.pk), "name": "Theirs", "kcal_100g": 1}

        restored, answer = at_once(
            partial(act, support, product, "restore"),
            partial(api.post, f"/v1/sync?last_pulled_at={cursor}", {"products": {"updated": [theirs]}}),
        )

        told = pulled(api, cursor)["changes"]["products"]
        if restored.redirect_chain:  # it was first: the phone is told of the conflict, or that it was deleted
            assert answer.status_code == 409
            assert [row["name"] for row in told["updated"]] == ["Rye bread"]
        else:  # the phone was first, and heard again of the deletion: support looks again
            assert answer.status_code == 200
            assert told["deleted"] == [str(product.pk)]
