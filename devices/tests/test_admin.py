from html import unescape

import pytest
from django.contrib.admin.models import LogEntry

from devices.models import Device
from devices.owned import change_set, delete_device
from food_entries.tests.factories import FoodEntryFactory
from products.models import Portion, Product
from products.tests.factories import PortionFactory, ProductFactory


@pytest.fixture
def product(device) -> Product:
    return ProductFactory(device=device, name="Rye bread", barcode="4006381333931")


def form_of(product: Product, **changed) -> dict:
    values = {name: getattr(product, name) for name in ("name", "kcal_100g", "protein_100g", "carbs_100g", "barcode")}
    values |= {"fat_100g": None, "seen": product.revision, "reason": "He asked for it.", **changed}
    return {name: "" if value is None else value for name, value in values.items()}


class TestDevices:
    def test_are_found_by_their_id(self, support, device, stranger):
        page = support.get("/admin/devices/device/", {"q": f" {str(device.pk).upper()} "}).content.decode()

        assert f"/admin/devices/device/{device.pk}/change/" in page
        assert stranger.token.partition(".")[0] not in page

    @pytest.mark.parametrize("term", ["0d9c3c5e", "x", "'; --", "0d9c3c5e-3f2b-4c41-9b0e-6a3b6a6f2c11"])
    def test_are_not_found_by_anything_else(self, support, device, term):
        response = support.get("/admin/devices/device/", {"q": term})

        assert response.status_code == 200
        assert str(device.pk) not in response.content.decode()

    def test_show_what_they_keep_deleted_rows_too(self, support, device, product):
        with change_set(device):
            product.soft_delete()

        page = support.get(f"/admin/devices/device/{device.pk}/change/").content.decode()

        assert "Products: 0 live, 1 deleted" in page
        assert f"/admin/products/product/?device__id__exact={device.pk}" in page

    @pytest.mark.parametrize("address", ["/admin/devices/device/", "/admin/devices/device/{}/change/"])
    def test_show_no_token_hash(self, support, api, device, address):
        api.post("/v1/auth/rotate")
        device.refresh_from_db()

        page = support.get(address.format(device.pk)).content.decode()

        assert str(device.pk) in page
        assert "$2b$" not in page
        assert device.token_hash not in page
        assert device.next_token_hash not in page

    def test_can_be_neither_changed_nor_added_nor_removed(self, support, device):
        assert support.post(f"/admin/devices/device/{device.pk}/change/", {"revision": 1}).status_code == 403
        assert support.get("/admin/devices/device/add/").status_code == 403
        assert support.get(f"/admin/devices/device/{device.pk}/delete/").status_code == 403

        device.refresh_from_db()
        assert device.deleted_at is None


class TestRows:
    @pytest.mark.parametrize("kind", ["products/product", "products/portion", "food_entries/foodentry"])
    def test_of_a_device_are_listed_deleted_ones_too(self, support, device, stranger, kind):
        entry = FoodEntryFactory(device=device)
        theirs = FoodEntryFactory(device=Device.objects.get(pk=stranger.token.partition(".")[0]))
        rows = {"product": entry.product, "portion": entry.product.portions.get(), "foodentry": entry}
        with change_set(device):
            entry.soft_delete()
            entry.product.soft_delete()

        every = support.get(f"/admin/{kind}/", {"device__id__exact": device.pk}).content.decode()
        live = support.get(f"/admin/{kind}/", {"device__id__exact": device.pk, "state": "live"}).content.decode()
        gone = support.get(f"/admin/{kind}/", {"q": device.pk, "state": "deleted"}).content.decode()

        address = f"/admin/{kind}/{rows[kind.partition('/')[2]].pk}/change/"
        assert (address in every, address in live, address in gone) == (True, False, True)
        assert str(theirs.device_id) not in every

    @pytest.mark.parametrize("kind", ["products/product", "products/portion", "food_entries/foodentry"])
    def test_cost_the_same_queries_however_many(self, support, device, kind, django_assert_num_queries):
        FoodEntryFactory(device=device)
        for count in (1, 5):
            for _ in range(count - 1):
                FoodEntryFactory(device=device)
            with django_assert_num_queries(4):  # session, user, the page's count, its rows
                support.get(f"/admin/{kind}/")

    def test_are_mended_through_a_change_set(self, support, api, device, product):
        before = api.get(f"/v1/products/{product.pk}")

        support.post(f"/admin/products/product/{product.pk}/change/", form_of(product, name="Éclair", kcal_100g=262))

        device.refresh_from_db()
        product.refresh_from_db()
        assert (product.name, product.name_key, product.kcal_100g) == ("Éclair", "eclair", 262)
        assert product.revision == device.revision == 3
        again = api.get(f"/v1/products/{product.pk}", headers={"If-None-Match": before["ETag"]})
        assert again.json()["name"] == "Éclair"

    def test_are_left_alone_by_a_form_that_says_the_same(self, support, device, product):
        page = support.post(f"/admin/products/product/{product.pk}/change/", form_of(product)).content.decode()

        device.refresh_from_db()
        product.refresh_from_db()
        assert "there is nothing to save" in page
        assert (device.revision, product.updated_at) == (2, None)
        assert not LogEntry.objects.exists()

    def test_are_mended_for_a_reason_which_the_log_keeps(self, support, product):
        address = f"/admin/products/product/{product.pk}/change/"
        refused = support.post(address, form_of(product, name="Rye", reason=" "))
        stored = support.post(address, form_of(product, name="Rye", kcal_100g=1, reason="A typo."))

        assert (refused.status_code, stored.status_code) == (200, 302)
        (entry,) = LogEntry.objects.all()
        assert (entry.user.username, entry.object_id) == ("ada", str(product.pk))
        assert entry.get_change_message() == "Corrected name, energy. A typo."

    def test_keep_their_bounds_and_their_barcodes(self, support, device, product):
        other = ProductFactory(device=device)

        page = support.post(
            f"/admin/products/product/{other.pk}/change/", form_of(other, kcal_100g=1001, barcode=product.barcode)
        ).content.decode()

        assert "Ensure this value is less than or equal to 1000." in page
        assert "Another product has this barcode." in page

    def test_lose_a_barcode_to_null(self, support, product):
        support.post(f"/admin/products/product/{product.pk}/change/", form_of(product, barcode=""))

        product.refresh_from_db()
        assert product.barcode is None

    @pytest.mark.parametrize(
        ("deleted", "said"),
        [("row", "It is deleted by now. Nothing was saved."), ("device", "The device is deleted.")],
    )
    def test_that_are_deleted_are_only_shown(self, support, device, product, deleted, said):
        if deleted == "device":
            delete_device(device)
        else:
            with change_set(device):
                product.soft_delete()

        address = f"/admin/products/product/{product.pk}/change/"
        shown = support.get(address)
        posted = support.post(address, form_of(product, name="Other"), follow=True)

        assert (shown.status_code, "<textarea" in shown.content.decode()) == (200, False)
        assert posted.redirect_chain == [(address, 302)]
        assert said in unescape(posted.content.decode())
        product.refresh_from_db()
        assert product.name == "Rye bread"

    def test_that_the_phone_changed_meanwhile_are_left_alone(self, support, api, device, product):
        opened = form_of(product)
        api.patch(f"/v1/products/{product.pk}", {"kcal_100g": 240})

        page = support.post(
            f"/admin/products/product/{product.pk}/change/", opened | {"name": "Other"}, follow=True
        ).content.decode()

        product.refresh_from_db()
        assert "It has changed since you opened it, and is shown as it is now. Nothing was saved." in page
        assert "You had name “Other”, energy “250”." in page
        assert f'name="seen" value="{product.revision}"' in page
        assert 'name="kcal_100g" value="240"' in page
        assert (product.name, product.kcal_100g) == ("Rye bread", 240)
        assert not LogEntry.objects.exists()

    @pytest.mark.parametrize("seen", ["", "x", "1", "3", None])
    def test_are_mended_by_a_form_that_says_what_it_is_about(self, support, product, seen):
        support.post(f"/admin/products/product/{product.pk}/change/", form_of(product, name="Other", seen=seen))

        product.refresh_from_db()
        assert product.name == "Rye bread"

    def test_are_mended_one_field_of_a_portion(self, support, device, product):
        portion = PortionFactory(product=product, name="Slice", grams="35.50")

        sent = {"name": "Slice", "grams": "36", "seen": portion.revision, "reason": "Weighed again."}
        support.post(f"/admin/products/portion/{portion.pk}/change/", sent)

        portion.refresh_from_db()
        assert portion.grams == 36
        assert Portion.objects.for_device(device).filter(product=product, is_default=True).count() == 1

    def test_can_be_neither_added_nor_removed(self, support, product):
        for kind, row in (("product", product), ("portion", product.portions.get())):
            assert support.get(f"/admin/products/{kind}/add/").status_code == 403
            assert support.post(f"/admin/products/{kind}/{row.pk}/delete/", {"post": "yes"}).status_code == 403


class TestTheAdmin:
    def test_asks_who_is_there(self, anonymous):
        for address in ("/admin/", "/admin/devices/device/", "/admin/products/product/"):
            assert anonymous.get(address)["Location"] == f"/admin/login/?next={address}"

    def test_is_found_without_its_slash(self, anonymous):
        assert anonymous.get("/admin")["Location"] == "/admin/"
