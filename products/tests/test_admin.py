import re
from functools import partial
from html import unescape

import pytest

from devices.models import Device
from ownership.models import change_set
from products.models import Portion, Product
from products.tests.factories import PortionFactory, ProductFactory
from support.models import AuditEntry
from support.tests import entries
from tests.harness.at_once import at_once
from tests.harness.sync import pull_changes, push_ok


@pytest.fixture
def product(device) -> Product:
    return ProductFactory(device=device, name="Rye bread", barcode="4006381333931")


@pytest.fixture
def slice_(product) -> Portion:
    return PortionFactory(product=product, name="Slice")


def page(row, act: str = "change") -> str:
    return f"/admin/products/{row._meta.model_name}/{row.pk}/{act}/"


def act(support, row, name: str, **sent):
    """Run an action of support on the current revision of the row."""
    seen = type(row).all_objects.get(pk=row.pk).revision
    return support.post(page(row, name), {"reason": "She asked for it.", "seen": seen, **sent}, follow=True)


def text_of(response) -> str:
    return unescape(response.content.decode())


def soft_delete(*rows) -> None:
    """Soft-delete rows, each in its own change set."""
    for row in rows:
        with change_set(row.device):
            type(row).objects.for_device(row.device).get(pk=row.pk).soft_delete()


class TestTheListOfADevice:
    """Lists of products and of portions are searched in the same way."""

    @pytest.fixture(params=["product", "portion"])
    def found(self, request, support, device, other_device):
        """Return a function that stores rows with these names and searches them."""
        kind = request.param

        def store(owner: Device, name: str) -> None:
            if kind == "product":
                ProductFactory(device=owner, name=name)
            else:
                PortionFactory(product=ProductFactory(device=owner, name="Ω"), name=name)

        def search(text: str, *names: str) -> list[str]:
            for name in names:
                store(device, name)
                store(other_device, name)
            response = support.get(f"/admin/products/{kind}/", {"device__id__exact": device.pk, "q": text})
            return sorted(row.name for row in response.context["cl"].result_list)

        return search

    @pytest.mark.parametrize(
        ("text", "name"),
        [
            ("maslo", "Masło"),
            ("reese's", "Reese’s"),
            ("ıspanak", "ISPANAK"),
            ("bread  rye", "Rye\u00a0bread"),
            ("100%", "100% juice"),
        ],
    )
    def test_is_searched_as_by_the_api(self, found, text, name):
        assert found(text, name, "Rye") == [name]

    @pytest.mark.parametrize("text", ["_", "rye oats", "\u0301", " ".join("abcdefghijklmnop"), "word " * 3000])
    def test_is_empty_if_no_name_has_all_words(self, found, text):
        assert found(text, "Rye bread", "Oats") == []


class TestARestoredProduct:
    def test_comes_back_to_the_phone_with_its_portions(self, support, api, product, slice_):
        soft_delete(product)
        cursor = pull_changes(api)["timestamp"]

        response = act(support, product, "restore")

        assert response.redirect_chain == [(page(product), 302)]
        assert "Restored." in text_of(response)
        changes = pull_changes(api, cursor)["changes"]
        assert [row["name"] for row in changes["products"]["updated"]] == ["Rye bread"]
        assert {row["name"] for row in changes["portions"]["updated"]} == {"100g", "Slice"}

    def test_uses_one_revision_and_one_audit_entry(self, support, device, product, slice_):
        soft_delete(product)
        device.refresh_from_db()
        before = device.revision

        act(support, product, "restore")

        device.refresh_from_db()
        rows = [Product.objects.get(pk=product.pk), *Portion.objects.filter(product=product)]
        assert {row.revision for row in rows} == {device.revision} == {before + 1}
        assert entries.recorded_changes() == ["Restored. She asked for it."]
        entry = AuditEntry.objects.latest("pk")
        assert (entry.user_name, entry.kind, entry.object_id) == ("ada", "products.product", str(product.pk))

    @pytest.mark.parametrize("setting", ["MAX_PORTIONS", "NEW_ROWS_FIRST_DAY"])
    def test_fails_if_a_quota_forbids_its_new_default_portion(
        self, support, settings, device, product, slice_, setting
    ):
        soft_delete(product)
        Portion.all_objects.for_device(device).purge()
        setattr(settings, setting, 0)

        response = act(support, product, "restore")

        assert response.status_code == 200
        assert "A device can " in text_of(response)
        assert not Product.objects.filter(pk=product.pk).exists()

    def test_is_rejected_if_its_barcode_is_taken(self, support, device, product, all_rows):
        soft_delete(product)
        ProductFactory(device=device, barcode=product.barcode)
        before = all_rows()

        response = act(support, product, "restore")

        assert response.status_code == 200
        assert "Another product has this barcode. Nothing was changed." in text_of(response)
        assert "She asked for it." in text_of(response)
        assert all_rows() == before
        assert entries.recorded_changes() == []

    @pytest.mark.parametrize("deleted_before", [True, False])
    def test_is_rejected_if_the_product_changed_after_the_page_was_opened(
        self, support, api, product, all_rows, deleted_before
    ):
        """The page then shows the current state, and the action has to be confirmed again."""
        name = "restore" if deleted_before else "soft-delete"
        if deleted_before:
            soft_delete(product)
        seen = Product.all_objects.get(pk=product.pk).revision
        if deleted_before:
            push_ok(
                api, pull_changes(api)["timestamp"], products={"updated": [{"id": str(product.pk), "name": "Again"}]}
            )
        else:
            api.patch(f"/v1/products/{product.pk}", {"name": "Other"})
        before = all_rows()

        response = act(support, product, name, seen=seen)

        assert "The row has changed since you opened it. This page shows its current state." in text_of(response)
        assert all_rows() == before
        assert f'name="seen" value="{seen}"' not in text_of(response)

    def test_does_not_exist_after_a_purge(self, support, device, product):
        soft_delete(product)
        seen = Product.all_objects.get(pk=product.pk).revision
        Portion.all_objects.for_device(device).filter(product=product).purge()
        Product.all_objects.for_device(device).filter(pk=product.pk).purge()

        response = support.post(page(product, "restore"), {"reason": "x", "seen": seen}, follow=True)

        assert response.redirect_chain == [("/admin/", 302)]
        assert "This product doesn't exist." in text_of(response)

    def test_is_restored_once(self, support, product, all_rows):
        soft_delete(product)
        act(support, product, "restore")
        before = all_rows()

        again = act(support, product, "restore")

        assert "Nothing was changed." in text_of(again)
        assert all_rows() == before
        assert len(entries.recorded_changes()) == 1


class TestAProductsPage:
    def test_links_to_its_portions_including_deleted_ones(self, support, product, slice_, django_assert_num_queries):
        soft_delete(slice_)
        PortionFactory(product=product, name="Crust")

        # the user, the product, its device, its portions, the audit entry
        with django_assert_num_queries(10):
            shown = text_of(support.get(page(product)))

        portions = list(re.findall(r'portion/[0-9a-f-]{36}/change/">(.+?)</p>', shown))
        assert portions == ["100g</a>, 100.00 g (default)", "Crust</a>, 40.00 g", "Slice</a>, 40.00 g (deleted)"]
        assert page(slice_) in shown

    def test_escapes_names(self, support, device):
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
    def test_is_deleted_on_the_phone_with_its_portions(self, support, api, product, slice_):
        cursor = pull_changes(api)["timestamp"]

        act(support, product, "soft-delete")

        changes = pull_changes(api, cursor)["changes"]
        assert changes["products"]["deleted"] == [str(product.pk)]
        assert set(changes["portions"]["deleted"]) == {
            str(each.pk) for each in Portion.all_objects.filter(product=product)
        }
        assert entries.recorded_changes() == ["Deleted. She asked for it."]

    def test_is_not_deleted_again(self, support, product, all_rows):
        soft_delete(product)
        before = all_rows()

        assert "Nothing was changed." in text_of(act(support, product, "soft-delete"))
        assert all_rows() == before

    def test_can_not_be_permanently_deleted(self, support, product):
        assert support.post(page(product, "delete"), {"post": "yes"}).status_code == 403
        assert Product.objects.filter(pk=product.pk).exists()


class TestARestoredPortion:
    def test_needs_a_live_product(self, support, product, slice_, all_rows):
        soft_delete(slice_, product)
        before = all_rows()

        response = act(support, slice_, "restore")

        assert "Its product is deleted. Restore the product first." in text_of(response)
        assert all_rows() == before

    def test_can_not_be_the_only_one_because_that_is_never_deleted(self, support, product, all_rows):
        before = all_rows()

        response = act(support, product.portions.get(), "soft-delete")

        assert "The only portion of a product can't be deleted. Nothing was changed." in text_of(response)
        assert all_rows() == before


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
class TestConcurrentWrites:
    def test_restore_and_push_lose_no_write(self, support, api, product, slice_):
        soft_delete(product)
        cursor = pull_changes(api)["timestamp"]
        theirs = {"id": str(product.pk), "name": "Theirs", "kcal_100g": 1}

        restored, push = at_once(
            partial(act, support, product, "restore"),
            partial(api.post, f"/v1/sync?last_pulled_at={cursor}", {"products": {"updated": [theirs]}}),
        )

        changes = pull_changes(api, cursor)["changes"]["products"]
        if restored.redirect_chain:  # the restore came first, so the push is rejected
            assert push.status_code == 409
            assert [row["name"] for row in changes["updated"]] == ["Rye bread"]
        else:  # the push came first and changed the tombstone's revision, so the restore is rejected
            assert push.status_code == 200
            assert changes["deleted"] == [str(product.pk)]
