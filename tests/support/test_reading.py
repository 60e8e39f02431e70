"""Which data of devices support can read, and what the audit log records about it."""

import re
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from devices.models import Device
from food_entries.models import FoodEntry
from food_entries.tests.factories import FoodEntryFactory
from ownership.models import change_set
from products.models import Portion, Product
from products.tests.factories import ProductFactory
from support.admin import DeviceAdmin
from support.audit import AuditedAdmin
from support.models import AuditEntry

KINDS = ("products/product", "products/portion", "food_entries/foodentry")
OF_DEVICE = "device__id__exact"


def address(row, act: str = "change") -> str:
    return f"/admin/{row._meta.app_label}/{row._meta.model_name}/{row.pk}/{act}/"


def mark(device) -> None:
    """Mark the device for erasure. Its rows are still stored."""
    Device.objects.filter(pk=device.pk).update(deleted_at=timezone.now())


def recorded() -> list[tuple]:
    return list(AuditEntry.objects.order_by("pk").values_list("user_name", "act", "kind", "object_id", "device"))


@pytest.fixture
def rows(device) -> dict[str, Product | Portion | FoodEntry]:
    """A row of each kind, all of one device."""
    entry = FoodEntryFactory(product=ProductFactory(device=device, name="Chicken soup"))
    return dict(zip(KINDS, (entry.product, entry.product.portions.get(), entry), strict=True))


@pytest.fixture
def erased_meanwhile(monkeypatch):
    """Return a function that makes a device disappear after its data was read, and before that is recorded."""

    def erase(device) -> None:
        record_reading = AuditedAdmin.record_reading

        def erase_first(self, entries):
            for model in (Portion, Product):
                model.all_objects.for_device(device)._raw_delete("default")
            Device.objects.filter(pk=device.pk).delete()
            return record_reading(self, entries)

        monkeypatch.setattr(AuditedAdmin, "record_reading", erase_first)

    return erase


def without_csrf(response) -> str:
    return re.sub(r'name="csrfmiddlewaretoken" value="\w+"', "", response.text)


def says_it_does_not_exist(response) -> bool:
    """Return whether the page has this message without an id, because the session stores the message."""
    (message,) = re.findall(r'<li class="warning">(.*?)</li>', response.content.decode())
    return bool(re.fullmatch("This (device|product|portion|food entry) doesn&#x27;t exist[.]", message))


class TestOpeningAPage:
    @pytest.mark.parametrize("kind", KINDS)
    def test_of_a_row_is_recorded(self, support, device, rows, kind):
        row = rows[kind]

        assert support.get(address(row)).status_code == 200

        assert recorded() == [("ada", "Opened", row._meta.label_lower, str(row.pk), device.pk)]

    def test_of_a_device_is_recorded(self, support, device):
        assert support.get(address(device)).status_code == 200

        assert recorded() == [("ada", "Opened", "devices.device", str(device.pk), device.pk)]

    def test_by_a_correction_that_is_refused_is_recorded(self, support, rows):
        refused = support.post(address(rows[KINDS[0]]), {"name": "Chicken soup", "seen": 2, "reason": ""})

        assert "Chicken soup" in refused.content.decode()
        assert [entry[1] for entry in recorded()] == ["Opened"]

    def test_is_not_recorded_by_a_correction(self, support, rows):
        product = rows[KINDS[0]]

        sent = {"name": "Soup", "kcal_100g": 250, "unit": "g", "seen": product.revision, "reason": "x"}
        assert support.post(address(product), sent).status_code == 302

        assert [entry[1] for entry in recorded()] == ["Corrected name, protein, carbs"]

    def test_is_not_recorded_if_nothing_is_shown(self, support, client, device, rows):
        client.force_login(User.objects.create_user("eve", is_staff=True))
        unknown = address(device).replace(str(device.pk), "0d9c3c5e-3f2b-4c41-9b0e-6a3b6a6f2c11")

        statuses = [support.get(unknown).status_code, client.get(address(device)).status_code]

        assert statuses == [302, 403]
        assert recorded() == []

    @pytest.mark.parametrize("act", ["history", "soft-delete", "restore"])
    @pytest.mark.parametrize("kind", KINDS)
    def test_of_an_action_or_the_history_is_recorded(self, support, device, rows, kind, act):
        row = rows[kind]

        for response in (support.get(address(row, act)), support.post(address(row, act), {"seen": "x"})):
            assert (response.status_code, str(row) in response.text) == (200, True)

        assert recorded() == [("ada", "Opened", row._meta.label_lower, str(row.pk), device.pk)] * 2

    def test_of_an_action_of_a_device_is_not_recorded_because_it_names_no_row(self, support, device):
        assert support.get(address(device, "block")).status_code == 200

        assert recorded() == []

    @pytest.mark.django_db(transaction=True)
    @pytest.mark.parametrize("kind", ["device", "product"])
    def test_while_the_device_is_erased_shows_nothing(self, support, other_device, erased_meanwhile, kind):
        opened = {"device": other_device, "product": ProductFactory(device=other_device, name="Chicken soup")}[kind]
        erased_meanwhile(other_device)

        response = support.get(address(opened), follow=True)

        assert response.redirect_chain == [("/admin/", 302)]
        assert says_it_does_not_exist(response)
        assert recorded() == []


class TestListingRows:
    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("query", [{}, {"q": "chick"}, {"state": "live"}, {"_popup": "1"}], ids=str)
    def test_of_a_device_is_recorded(self, support, device, rows, kind, query):
        assert support.get(f"/admin/{kind}/", {OF_DEVICE: device.pk, **query}).status_code == 200

        assert recorded() == [("ada", "Listed", rows[kind]._meta.label_lower, "", device.pk)]

    def test_by_post_is_recorded(self, support, device, rows):
        response = support.post(f"/admin/products/product/?{OF_DEVICE}={device.pk}")

        assert "Chicken soup" in response.content.decode()
        assert [entry[1] for entry in recorded()] == ["Listed"]

    @pytest.mark.parametrize("kind", KINDS)
    def test_that_were_found_by_their_id_is_recorded_for_each(self, support, device, rows, kind):
        row = rows[kind]

        assert str(row.pk) in support.get(f"/admin/{kind}/", {"q": row.pk.hex[:12]}).content.decode()

        assert recorded() == [("ada", "Listed", row._meta.label_lower, str(row.pk), device.pk)]

    def test_of_no_device_is_not_recorded(self, support, device, rows):
        for query in ({}, {"q": "0d9c3c5e"}, {OF_DEVICE: "0d9c3c5e-3f2b-4c41-9b0e-6a3b6a6f2c11"}, {OF_DEVICE: "x"}):
            support.get("/admin/products/product/", query)

        assert recorded() == []

    @pytest.mark.django_db(transaction=True)
    def test_of_a_device_that_is_being_erased_shows_nothing(self, support, other_device, erased_meanwhile):
        ProductFactory(device=other_device, name="Chicken soup")
        erased_meanwhile(other_device)

        response = support.get("/admin/products/product/", {OF_DEVICE: other_device.pk}, follow=True)

        assert response.redirect_chain == [("/admin/products/product/", 302)]
        assert recorded() == []


class TestTheRowsOfAllDevices:
    @pytest.fixture
    def row(self, device) -> Product:
        return ProductFactory(device=device, id=UUID("0d9c3c5e-3f2b-4c41-9b0e-6a3b6a6f2c11"), name="Chicken soup")

    @pytest.mark.parametrize(
        ("term", "found"),
        [
            ("0d9c3c5e", True),
            ("0D9C3C5E-", True),
            (" 0d9c-3c5e ", True),
            ("0d9c3c5e-3f2b-4c41-9b0e-6a3b6a6f2c11", True),
            ("0d9c3c5", False),
            ("0d9c-3c5-", False),
            ("0-d-9-c-3-", False),
            ("--------", False),
            ("0", False),
            ("", False),
            ("Chicken soup", False),
            ("0d9c3c5e x", False),
        ],
    )
    def test_are_searched_by_at_least_8_digits_of_an_id(self, support, row, term, found):
        shown = support.get("/admin/products/product/", {"q": term}).content.decode()

        assert (address(row) in shown) == found
        assert "Without a device, at least 8 digits of the id are needed." in shown

    @pytest.mark.parametrize(
        "query",
        [
            "all=",
            "p=1",
            "o=1",
            "_popup=1",
            "_popup=1&_to_field=id",
            "state=live",
            "state=deleted",
            "e=1",
            "_facets=True",
            "date__year=2026",
            "date__year=2026&date__month=1&date__day=5",
            "q=0d9c&state=live",
        ],
    )
    @pytest.mark.parametrize("kind", KINDS)
    def test_are_not_listed_by_another_query(self, support, rows, kind, query):
        response = support.get(f"/admin/{kind}/?{query}")

        assert response.status_code in (200, 302, 400)
        assert "Chicken soup" not in response.content.decode()
        assert str(rows[kind].pk) not in response.content.decode()

    @pytest.mark.parametrize(
        "query",
        [
            "device__isnull=False",
            "device__id__gte=0",
            "device__id__in=x",
            "device__exact=x",
            "id__gte=00000000-0000-0000-0000-000000000000",
            "name__contains=soup",
            "product__name__contains=soup",
            "deleted_at__isnull=True",
            "device__deleted_at__isnull=True",
            "_to_field=device",
            "_to_field=name",
        ],
    )
    @pytest.mark.parametrize("kind", KINDS)
    def test_are_not_listed_by_a_lookup(self, support, rows, kind, query):
        assert support.get(f"/admin/{kind}/?{query}").status_code == 400

    @pytest.mark.parametrize("kind", KINDS)
    def test_are_not_listed_for_several_devices_at_once(self, support, device, other_device, rows, kind):
        response = support.get(f"/admin/{kind}/?{OF_DEVICE}={device.pk}&{OF_DEVICE}={other_device.pk}")

        assert response.status_code == 400

    @pytest.mark.parametrize("field", ["barcode", "name", "device", "revision", "product"])
    @pytest.mark.parametrize("act", ["change", "history", "delete"])
    def test_are_not_found_by_another_field_than_the_id(self, support, device, field, act):
        ProductFactory(device=device, name="Chicken soup", barcode="4006381333931")

        for value in ("4006381333931", "Chicken soup", device.pk, "2"):
            response = support.get(f"/admin/products/product/{value}/{act}/?_to_field={field}")
            assert response.status_code in (302, 400, 403)

    @pytest.mark.parametrize("page", ["", "{}/change/"])
    def test_are_not_found_by_a_field_that_points_back(self, support, device, page):
        for field in {field.name for field in Device._meta.get_fields()} - {"id"}:
            response = support.get(f"/admin/devices/device/{page.format(device.pk)}?_to_field={field}")
            assert response.status_code == 400

    def test_are_not_available_to_autocomplete(self, support, root, anonymous, rows):
        query = {"app_label": "food_entries", "model_name": "foodentry", "field_name": "product", "term": "chick"}

        for client in (support, root, anonymous):
            assert client.get("/admin/autocomplete/", query).status_code == 404

    def test_are_not_found_by_their_content_type(self, support, root, anonymous, rows):
        for client in (support, root, anonymous):
            assert client.get(f"/admin/r/1/{rows[KINDS[0]].pk}/").status_code == 404

    @pytest.mark.parametrize("act", ["change", "history", "delete", "soft-delete", "restore"])
    @pytest.mark.parametrize("kind", KINDS)
    def test_look_like_rows_that_do_not_exist_without_a_permission(self, rows, kind, act):
        eve = Client()
        eve.force_login(User.objects.create_user("eve", is_staff=True))

        existing, unknown = (eve.get(f"/admin/{kind}/{pk}/{act}/") for pk in (rows[kind].pk, rows[kind].device_id))

        assert (existing.status_code, unknown.status_code) == (403, 403)
        assert without_csrf(existing) == without_csrf(unknown)


class TestAMarkedDevice:
    """A device that is marked for erasure, and whose rows are still stored."""

    @pytest.fixture(autouse=True)
    def _marked(self, device, rows):
        mark(device)

    def test_is_not_listed(self, support, device, other_device):
        shown = support.get("/admin/devices/device/").content.decode()
        found = support.get("/admin/devices/device/", {"q": device.pk.hex[:12]}).content.decode()

        assert (str(device.pk) in shown, str(other_device.pk) in shown) == (False, True)
        assert re.search(r'href="/admin/devices/device/[0-9a-f-]{36}/', found) is None

    @pytest.mark.parametrize("method", ["get", "post"])
    @pytest.mark.parametrize("act", ["change", "history", "block", "unblock", "new-token"])
    def test_has_no_page(self, support, device, all_rows, act, method):
        before = all_rows()

        response = getattr(support, method)(address(device, act), {"reason": "x"}, follow=True)

        if (act, method) == ("change", "post"):
            assert response.status_code == 403
        else:
            assert response.redirect_chain == [("/admin/", 302)]
            assert says_it_does_not_exist(response)
        assert all_rows() == before
        assert recorded() == []

    @pytest.mark.parametrize("query", ["device", "id", "both"])
    @pytest.mark.parametrize("kind", KINDS)
    def test_has_no_rows_in_lists(self, support, device, rows, kind, query):
        by_id = {"q": str(rows[kind].pk)} if query != "device" else {}
        of_device = {OF_DEVICE: device.pk} if query != "id" else {}

        response = support.get(f"/admin/{kind}/", by_id | of_device)

        assert response.status_code == 200
        assert 'id="result_list"' not in response.content.decode()
        assert "Chicken soup" not in response.content.decode()
        assert recorded() == []

    @pytest.mark.parametrize("method", ["get", "post"])
    @pytest.mark.parametrize("act", ["change", "history", "soft-delete", "restore"])
    @pytest.mark.parametrize("kind", KINDS)
    def test_has_no_row_with_a_page(self, support, rows, all_rows, kind, act, method):
        row, before = rows[kind], all_rows()

        sent = {"reason": "x", "seen": row.revision, "name": "Soup"}
        response = getattr(support, method)(address(row, act), sent, follow=True)

        assert response.redirect_chain == [("/admin/", 302)]
        assert says_it_does_not_exist(response)
        assert "Chicken soup" not in response.content.decode()
        assert all_rows() == before
        assert recorded() == []


class TestADeviceThatIsMarkedDuringAnAction:
    """The device is marked for erasure after the row was read, and before the action locks the device."""

    @pytest.fixture
    def marks(self, device, monkeypatch):
        """Mark the device just before it is locked or written."""

        def mark_first(function):
            def marked(*args, **kwargs):
                mark(device)
                return function(*args, **kwargs)

            return marked

        monkeypatch.setattr("support.owned_admin.change_set", mark_first(change_set))
        monkeypatch.setattr(DeviceAdmin, "perform", mark_first(DeviceAdmin.perform))

    @pytest.mark.parametrize("act", ["change", "soft-delete"])
    @pytest.mark.parametrize("kind", KINDS)
    def test_changes_no_row(self, support, rows, all_rows, marks, kind, act):
        row, before = rows[kind], all_rows()

        sent = {"reason": "x", "seen": row.revision, "name": "Soup"}
        response = support.post(address(row, act), sent, follow=True)

        assert response.redirect_chain == [("/admin/", 302)]
        assert says_it_does_not_exist(response)
        assert all_rows() == before
        assert recorded() == []

    @pytest.mark.parametrize("name", ["block", "new-token"])
    def test_is_neither_blocked_nor_given_a_token(self, support, device, marks, name):
        response = support.post(address(device, name), {"reason": "x"}, follow=True)

        assert response.redirect_chain == [("/admin/", 302)]
        assert says_it_does_not_exist(response)
        assert recorded() == []
