import re
from datetime import UTC, datetime
from functools import partial
from html import unescape
from urllib.parse import unquote, urlencode

import pytest
from django.contrib.auth.models import Group, Permission
from django.db.models import QuerySet
from django.utils import timezone

from countonme.api.errors import InvalidToken
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


class TestTheLabel:
    def test_is_shown_and_corrected(self, support, api, device):
        label = {"brand": "Mill & Oven", "unit": "ml", "salt_100g": "1.51", "is_favorite": True}
        product = ProductFactory(device=device, name="Milk", **label)
        since = pull_changes(api)["timestamp"]
        corrected = {"name": "Milk", "brand": "Œko", "kcal_100g": 64, "unit": "g", "salt_100g": "0.10"}

        shown = text_of(support.get(page(product)))
        support.post(page(product), corrected | {"reason": "A typo.", "seen": product.revision})

        assert all(text in shown for text in ("Mill & Oven", "Saturated fat", "1.51", "Is favorite"))
        (pulled,) = pull_changes(api, since)["changes"]["products"]["updated"]
        assert (pulled["brand"], pulled["unit"], pulled["salt_100g"], pulled["sugars_100g"]) == ("Œko", "g", 0.1, None)
        assert [row["name"] for row in api.get("/v1/products?search=oeko").json()] == ["Milk"]

    def test_is_searched_by_the_brand(self, support, device):
        product = ProductFactory(device=device, name="Milk", brand="Müller")
        ProductFactory(device=device, name="Milk")

        listed = support.get("/admin/products/product/", {"device__id__exact": device.pk, "q": "milk muller"})

        assert [row.pk for row in listed.context["cl"].result_list] == [product.pk]
        assert "Müller" in text_of(listed)

    @pytest.mark.parametrize("brand", ["", "  "])
    def test_has_no_empty_brand(self, support, device, brand):
        product = ProductFactory(device=device, brand="Müller")
        corrected = {"name": product.name, "brand": brand, "kcal_100g": 64, "unit": "g"}

        support.post(page(product), corrected | {"reason": "A typo.", "seen": product.revision})

        product.refresh_from_db()
        assert (product.brand, product.brand_key, product.kcal_100g) == (None, None, 64)


class TestTheListOfProducts:
    @pytest.mark.parametrize(
        ("text", "is_found"),
        [
            ("5901234123457", True),
            ("5 901234 123457", True),
            ("5901234-123457", True),
            ("123457", True),
            ("5901", True),
            ("05901234123457", True),
            ("590", False),
            ("5902", False),
            ("5901234123458", False),
            ("59012341234575901234123457", False),
            ("５９０１", False),
        ],
    )
    def test_is_searched_by_barcode(self, support, device, other_device, text, is_found):
        for owner in (device, other_device):
            ProductFactory(device=owner, name="Masło", barcode="5901234123457")

        response = support.get("/admin/products/product/", {"device__id__exact": device.pk, "q": text})

        assert [row.device_id for row in response.context["cl"].result_list] == [device.pk] * is_found

    def test_shows_the_times_of_the_last_change_and_of_the_deletion(self, support, device, product):
        created, deleted = ProductFactory(device=device), ProductFactory(device=device)
        with change_set(device):
            product.change(kcal_100g=1)
        soft_delete(deleted)
        at = [datetime(2026, 1, 5, 7, minute, tzinfo=UTC) for minute in range(6)]
        for row, times in (
            (created, {"created_at": at[0]}),
            (product, {"created_at": at[1], "updated_at": at[2]}),
            (deleted, {"created_at": at[3], "updated_at": at[5], "deleted_at": at[4]}),
        ):
            QuerySet.update(Product.all_objects.filter(pk=row.pk), **times)

        shown = text_of(support.get("/admin/products/product/", {"device__id__exact": device.pk}))

        pairs = re.findall('field-changed_at[^>]*">(.*?)<.*?field-deleted_at[^>]*">(.*?)<', shown)
        assert sorted(pairs) == [
            ("2026-01-05 07:00 UTC", "-"),
            ("2026-01-05 07:02 UTC", "-"),
            ("2026-01-05 07:05 UTC", "2026-01-05 07:04 UTC"),
        ]


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
        assert ">Open the other product</a>" in text_of(response)
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

        # the user, the second factor twice, the product, its device, its portions, the audit entry
        with django_assert_num_queries(12):
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


class TestRestoringSeveralRows:
    LIST = "/admin/products/product/"

    @pytest.fixture
    def deleted(self, device) -> list[Product]:
        rows = [ProductFactory(device=device, name=name, barcode=None) for name in ("Apple", "Bread", "Cheese")]
        soft_delete(*rows)
        return [Product.all_objects.get(pk=row.pk) for row in rows]

    def select(self, support, device, rows, **sent):
        """Run the action in the list of the device, as the list or the page after it does."""
        selected = {"action": "restore_selected", "_selected_action": [row.pk for row in rows], **sent}
        address = f"{self.LIST}?device__id__exact={device.pk}&state=deleted"
        return support.post(address, selected, follow=True)

    def confirm(self, support, device, rows, reason="She asked for it."):
        seen = {f"seen-{row.pk}": row.revision for row in rows}
        return self.select(support, device, rows, reason=reason, **seen)

    def test_asks_for_a_reason_and_names_the_rows(self, support, device, deleted, all_rows):
        before = all_rows()

        response = self.select(support, device, deleted[:2], index=0)

        assert "Apple, deleted 20" in text_of(response)
        assert "Cheese" not in text_of(response)
        assert f'name="seen-{deleted[0].pk}" value="{deleted[0].revision}"' in text_of(response)
        assert all_rows() == before
        assert AuditEntry.objects.get().act == "Listed"

    def test_sends_them_to_the_phone_and_keeps_the_filters(self, support, api, device, deleted):
        cursor = pull_changes(api)["timestamp"]
        device.refresh_from_db()

        response = self.confirm(support, device, deleted)

        assert response.redirect_chain == [(f"{self.LIST}?device__id__exact={device.pk}&state=deleted", 302)]
        assert "3 rows restored." in text_of(response)
        changes = pull_changes(api, cursor)["changes"]
        assert {row["name"] for row in changes["products"]["updated"]} == {"Apple", "Bread", "Cheese"}
        assert len(changes["portions"]["updated"]) == 3
        assert Device.objects.get(pk=device.pk).revision == device.revision + 3  # a change set for each
        assert entries.recorded_changes() == ["Restored. She asked for it."] * 3
        restored = AuditEntry.objects.filter(act="Restored")
        assert {entry.object_id for entry in restored} == {str(row.pk) for row in deleted}

    def test_lists_those_that_conflict_with_a_link_and_the_reason(self, support, device, deleted):
        deleted[1] = ProductFactory(device=device, barcode="4006381333931")
        soft_delete(deleted[1])
        deleted[1] = Product.all_objects.get(pk=deleted[1].pk)
        taken = ProductFactory(device=device, barcode="4006381333931")
        change = Product.all_objects.for_device(device).get(pk=deleted[2].pk)
        with change_set(device):
            change.change(kcal_100g=1)

        response = self.confirm(support, device, deleted)

        page = text_of(response)
        assert response.redirect_chain == []
        assert "1 row restored. The rows below were not restored." in page
        assert "Apple, deleted" not in page
        assert "Another product has this barcode." in page
        assert f'<a href="/admin/products/product/{taken.pk}/change/">Open the other product</a>' in page
        assert "The row has changed since you opened it." in page
        assert f'name="seen-{change.pk}" value="{change.revision}"' in page
        assert "She asked for it.</textarea>" in page
        assert list(Product.objects.filter(pk__in=[row.pk for row in deleted])) == [deleted[0]]
        assert entries.recorded_changes() == ["Restored. She asked for it."]

    @pytest.mark.parametrize("reason", ["", " ", "x" * 501])
    def test_needs_a_reason(self, support, device, deleted, all_rows, reason):
        before = all_rows()

        assert "Nothing was changed." in text_of(self.confirm(support, device, deleted, reason))
        assert all_rows() == before

    def test_is_limited_in_number(self, support, device, deleted, all_rows, monkeypatch):
        monkeypatch.setattr("support.restore_selected.MAX_ROWS", 2)
        before = all_rows()

        assert "Select at most 2 rows." in text_of(self.confirm(support, device, deleted))
        assert all_rows() == before

    def test_does_not_find_rows_of_another_device(self, support, other_device, deleted, all_rows):
        before = all_rows()

        response = self.confirm(support, other_device, deleted)

        assert "None of these rows is deleted. Nothing was changed." in text_of(response)
        assert all_rows() == before

    def test_leaves_out_live_rows(self, support, device, deleted):
        live = ProductFactory(device=device)

        self.confirm(support, device, [*deleted, live])

        assert len(entries.recorded_changes()) == 3

    def test_needs_the_permission(self, support, device, deleted, all_rows):
        Group.objects.get().permissions.remove(Permission.objects.get(codename="change_product"))
        before = all_rows()

        page = text_of(self.confirm(support, device, deleted))

        assert 'value="restore_selected"' not in page
        assert all_rows() == before

    def test_forgets_a_device_that_is_erased_meanwhile(self, support, device, deleted, monkeypatch):
        def perform(*args):
            Device.objects.filter(pk=device.pk).update(deleted_at=timezone.now())
            raise InvalidToken

        monkeypatch.setattr("products.admin.ProductAdmin.perform", perform)

        page = text_of(self.confirm(support, device, deleted))

        assert "Apple" not in page
        assert "0 rows restored. 3 rows don't exist any more." in page

    @pytest.mark.parametrize("pk", ["x", "1", "\0", "{}"])
    def test_refuses_ids_that_no_row_has(self, support, device, deleted, all_rows, pk):
        before = all_rows()

        response = self.select(support, device, deleted, _selected_action=[deleted[0].pk, pk], reason="x")

        assert response.status_code == 400
        assert all_rows() == before

    def test_of_portions_needs_their_products(self, support, device, product, slice_):
        soft_delete(slice_, product)
        row = Portion.all_objects.get(pk=slice_.pk)
        sent = {"action": "restore_selected", "_selected_action": row.pk, "reason": "x", f"seen-{row.pk}": row.revision}

        response = support.post(f"/admin/products/portion/?device__id__exact={device.pk}", sent)

        assert "Its product is deleted. Restore the product first." in text_of(response)
        assert f'<a href="{page(product)}">Open the product</a>' in text_of(response)


class TestTheFilterOfTheList:
    def test_stays_after_a_row_is_restored(self, support, device, product):
        soft_delete(product)
        of_device = {"device__id__exact": str(device.pk), "state": "deleted"}
        listed = support.get("/admin/products/product/", of_device)
        (address,) = re.findall(r'<a href="(/admin/products/product/[^"]+)">Rye bread', text_of(listed))
        (button,) = re.findall(r'<li><a href="([^"]+/restore/[^"]+)"', text_of(support.get(address)))

        response = support.post(button, {"reason": "x", "seen": Product.all_objects.get().revision}, follow=True)

        assert response.redirect_chain == [(address, 302)]
        links = [unquote(link) for link in re.findall(r'<a href="([^"]+)">Products</a>', text_of(response))]
        assert f"/admin/products/product/?{urlencode(of_device)}" in links

    def test_is_the_device_if_support_came_from_elsewhere(self, support, device, product):
        of_device = f"/admin/products/product/?device__id__exact={device.pk}"

        shown = text_of(support.get(page(product)))
        corrected = {"name": "Rye", "kcal_100g": 1, "unit": "g"}
        saved = support.post(page(product), {**corrected, "seen": product.revision, "reason": "x"})

        assert f'<a href="{of_device}">Products</a>' in shown
        assert saved["Location"] == of_device


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
