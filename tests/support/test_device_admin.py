import re
from copy import copy
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest
from django.db import connection

from devices.models import Device
from food_entries.tests.factories import FoodEntryFactory
from ownership.models import change_set
from products.models import Portion, Product
from products.tests.factories import PortionFactory, ProductFactory
from support.models import AuditEntry
from support.tests import entries


@pytest.fixture
def product(device) -> Product:
    return ProductFactory(device=device, name="Rye bread", barcode="4006381333931")


CORRECTABLE = ("name", "kcal_100g", "protein_100g", "carbs_100g", "unit", "barcode")


def form_of(product: Product, **changed) -> dict:
    values = {name: getattr(product, name) for name in CORRECTABLE}
    values |= {"fat_100g": None, "seen": product.revision, "reason": "He asked for it.", **changed}
    return {name: "" if value is None else value for name, value in values.items()}


DEVICES = "/admin/devices/device/"
LARGE = re.compile(r'FROM "(devices|products|portions|food_entries)"')
LOGIN = 6  # queries: the session, the user, the second factor twice, the user's permissions, the groups' permissions
RECORDED = 3  # queries: an entry of the audit log, in its own transaction


def listed(support, q: str, **narrowed) -> set[str]:
    """Return the ids of the devices that a search finds."""
    response = support.get(DEVICES, {"q": q, **narrowed})
    assert response.status_code == 200
    return set(re.findall(rf'href="{DEVICES}([0-9a-f-]{{36}})/change/', response.content.decode()))


@pytest.fixture
def large_tables(other_device) -> None:
    """Fill the tables. PostgreSQL uses no index for a few rows, and plans with the statistics of earlier tests."""
    entry = FoodEntryFactory(device=other_device)
    for row in (other_device, entry.product, PortionFactory(product=entry.product), entry):
        copies = [copy(row) for _ in range(1000)]
        for each in copies:
            each.pk = uuid4()
        type(row)._base_manager.bulk_create(copies)
        if connection.vendor == "postgresql":
            connection.cursor().execute(f"ANALYZE {row._meta.db_table}")


def full_scans(queries) -> list[str]:
    """Return the captured queries that scan a whole large table, or a whole index of one."""
    large = [query["sql"] for query in queries.captured_queries if LARGE.search(query["sql"])]
    assert large
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            plans = {sql: cursor.execute(f"EXPLAIN QUERY PLAN {sql}").fetchall() for sql in large}
            return [sql for sql, plan in plans.items() if any(re.match("SCAN (?!subquery)", row[-1]) for row in plan)]
        plans = {sql: cursor.execute(f"EXPLAIN (FORMAT JSON) {sql}").fetchone()[0] for sql in large}
        return [sql for sql, (plan,) in plans.items() if scans_everything(plan["Plan"])]


def scans_everything(node: dict) -> bool:
    kind = node["Node Type"]
    is_full_scan = kind == "Seq Scan" or ("Index" in kind and "Index Cond" not in node)
    return is_full_scan or any(scans_everything(child) for child in node.get("Plans", ()))


class TestDevices:
    @pytest.fixture
    def ids(self, db) -> list[str]:
        ids = [
            "0d9c3c5e-3f2b-4c41-9b0e-6a3b6a6f2c11",
            "0d9c3c5e-4f2b-4c41-9b0e-6a3b6a6f2c11",
            str(UUID(int=2**128 - 1)),
        ]
        for device_id in ids:
            Device.objects.register(UUID(device_id))
        return ids

    @pytest.mark.parametrize(
        ("term", "found"),
        [
            ("0d9c3c5e-3f2b-4c41-9b0e-6a3b6a6f2c11", [0]),
            (" 0D9C3C5E-3F2B-4C41-9B0E-6A3B6A6F2C11 ", [0]),
            ("0d9c3c5e3f2b4c419b0e6a3b6a6f2c11", [0]),
            ("0d9c3c5e-3", [0]),
            ("0d9c3c5e4", [1]),
            ("0d9c3c5e-", [0, 1]),
            ("0D9C3C5E", [0, 1]),
            ("0", [0, 1]),
            ("f", [2]),
            ("ffffffff-ffff-ffff-ffff-ffffffffffff", [2]),
            ("0d9c3c5e-3f2b-4c41-9b0e-6a3b6a6f2c12", []),
            ("0d9c3c5e-3f2b-4c41-9b0e-6a3b6a6f2c110", []),
            ("1", []),
            ("x", []),
            ("-", []),
            ("0d9c3c5x", []),
            ("0d9c 3c5e", []),
            ("%", []),
            ("'; --", []),
            ("$2b$", []),
            ("０", []),
            ("", [0, 1, 2]),
        ],
    )
    def test_are_found_by_their_id_or_a_prefix_of_it(self, support, ids, term, found):
        assert listed(support, term) == {ids[place] for place in found}

    def test_are_found_with_an_index(self, support, ids, large_tables, django_assert_num_queries):
        with django_assert_num_queries(LOGIN + 2) as queries:  # the page's count, its rows
            assert len(listed(support, "0d9c3c5e")) == 2

        assert full_scans(queries) == []

    def test_can_be_filtered_by_blocked(self, support, ids):
        Device.objects.get(pk=ids[1]).block()

        assert listed(support, "", state="blocked") == {ids[1]}
        assert listed(support, "f", state="blocked") == set()
        assert listed(support, "", state="x") == set(ids)

    @pytest.mark.parametrize(
        "lookup",
        [
            "token_hash__startswith",
            "next_token_hash__isnull",
            "token_hash",
            "revision__gt",
            "id__in",
            "food_entries__grams",
        ],
    )
    @pytest.mark.parametrize("kind", ["devices/device", "products/product", "food_entries/foodentry"])
    def test_can_not_be_filtered_by_hidden_columns(self, support, ids, kind, lookup):
        for name in (lookup, f"device__{lookup}"):
            assert support.get(f"/admin/{kind}/", {name: "$2b$"}).status_code == 400

    def test_are_always_listed_in_the_order_of_the_index(self, support, ids):
        page = support.get(DEVICES, {"o": "-2.3"}).content.decode()

        assert re.findall(r"/device/([0-9a-f-]{36})/change/", page) == sorted(ids)

    def test_are_counted_up_to_a_maximum(self, support, ids, monkeypatch):
        monkeypatch.setattr("support.changelist.MAX_COUNTED", 2)

        page = support.get(DEVICES).content.decode()

        assert "2 devices" in page
        assert "There are more, which are not counted here" in page
        assert "not counted here" not in support.get(DEVICES, {"q": "0d9c3c5e"}).content.decode()

    def test_show_the_number_of_rows_deleted_ones_included(self, support, device, product):
        with change_set(device):
            product.soft_delete()

        page = support.get(f"/admin/devices/device/{device.pk}/change/").content.decode()

        assert "Products: 0 live, 1 deleted" in page
        assert f"/admin/products/product/?device__id__exact={device.pk}" in page

    def test_show_how_much_of_the_quotas_is_used(self, support, device, product):
        page = support.get(f"{DEVICES}{device.pk}/change/").content.decode()

        assert "<p>Products: 1 of 20,000</p><p>Portions: 1 of 40,000</p><p>Food entries: 0 of 250,000</p>" in page
        assert "<p>Rows added today: 2 of 100,000</p>" in page

    def test_show_their_times_and_state(self, support, device):
        device.block()
        Device.objects.filter(pk=device.pk).update(
            created_at=datetime(2026, 1, 2, 3, 4, tzinfo=UTC), last_seen_at=datetime(2026, 2, 3, 4, 5, tzinfo=UTC)
        )

        page = support.get(f"{DEVICES}{device.pk}/change/").content.decode()

        for shown in (
            "2026-01-02 03:04 UTC",
            "2026-02-03 04:05 UTC",
            '<div class="readonly">1</div>',
            "Blocked at",
        ):
            assert shown in page

    def test_cost_the_same_queries_for_any_number_of_rows(self, support, device, django_assert_num_queries):
        for count in (1, 5):
            for _ in range(count):
                FoodEntryFactory(device=device)
            # the device, a count of each of three kinds, the chart's sums
            with django_assert_num_queries(LOGIN + 5 + RECORDED):
                support.get(f"{DEVICES}{device.pk}/change/")

    @pytest.mark.parametrize("address", ["/admin/devices/device/", "/admin/devices/device/{}/change/"])
    def test_show_no_token_hash(self, support, api, device, address):
        api.post("/v1/auth/rotate")
        device.refresh_from_db()

        page = support.get(address.format(device.pk)).content.decode()

        assert str(device.pk) in page
        assert "$2b$" not in page
        assert device.token_hash not in page
        assert device.next_token_hash not in page

    def test_can_not_be_changed_added_or_removed(self, support, device):
        assert support.post(f"/admin/devices/device/{device.pk}/change/", {"revision": 1}).status_code == 403
        assert support.get("/admin/devices/device/add/").status_code == 403
        assert support.get(f"/admin/devices/device/{device.pk}/delete/").status_code == 403

        device.refresh_from_db()
        assert device.deleted_at is None


class TestRows:
    @pytest.mark.parametrize("kind", ["products/product", "products/portion", "food_entries/foodentry"])
    def test_of_a_device_are_listed_deleted_ones_included(self, support, device, other_api, kind):
        entry = FoodEntryFactory(device=device)
        theirs = FoodEntryFactory(device=Device.objects.get(pk=other_api.token.partition(".")[0]))
        rows = {"product": entry.product, "portion": entry.product.portions.get(), "foodentry": entry}
        with change_set(device):
            entry.soft_delete()
            entry.product.soft_delete()

        every = support.get(f"/admin/{kind}/", {"device__id__exact": device.pk}).content.decode()
        live = support.get(f"/admin/{kind}/", {"device__id__exact": device.pk, "state": "live"}).content.decode()
        gone = support.get(f"/admin/{kind}/", {"device__id__exact": device.pk, "state": "deleted"}).content.decode()

        address = f"/admin/{kind}/{rows[kind.partition('/')[2]].pk}/change/"
        assert (address in every, address in live, address in gone) == (True, False, True)
        assert str(theirs.device_id) not in every

    @pytest.mark.parametrize("kind", ["products/product", "products/portion", "food_entries/foodentry"])
    def test_cost_the_same_queries_for_any_number(self, support, device, kind, django_assert_num_queries):
        FoodEntryFactory(device=device)
        for count in (1, 5):
            for _ in range(count - 1):
                FoodEntryFactory(device=device)
            # the page's count, its rows, the device; of entries, the first and last date, and the months or days
            with django_assert_num_queries(LOGIN + (5 if "food" in kind else 3) + RECORDED):
                support.get(f"/admin/{kind}/", {"device__id__exact": device.pk})

    @pytest.mark.parametrize(
        "query", [{}, {"state": "deleted"}, {"state": "live"}, {"q": "rye"}, {"q": "abc"}], ids=str
    )
    @pytest.mark.parametrize("kind", ["products/product", "products/portion", "food_entries/foodentry"])
    def test_are_listed_with_an_index(self, support, device, large_tables, kind, query, django_assert_max_num_queries):
        FoodEntryFactory(device=device)

        with django_assert_max_num_queries(LOGIN + 6 + RECORDED) as queries:
            support.get(f"/admin/{kind}/", {"device__id__exact": device.pk, **query})

        assert full_scans(queries) == []

    @pytest.mark.parametrize("kind", ["products/product", "products/portion", "food_entries/foodentry"])
    def test_are_listed_for_one_device_only(self, support, device, kind, django_assert_num_queries):
        FoodEntryFactory(device=device)

        with django_assert_num_queries(LOGIN):
            page = support.get(f"/admin/{kind}/").content.decode()

        assert "Rows are listed for one device" in page
        assert str(device.pk) not in page

    def test_are_found_by_a_prefix_of_their_id_without_a_device(self, support, device, other_device):
        rows = [ProductFactory(device=device), ProductFactory(device=other_device)]

        for row in rows:
            page = support.get("/admin/products/product/", {"q": row.pk.hex[:20]}).content.decode()
            assert [str(each.pk) in page for each in rows] == [each is row for each in rows]

    @pytest.mark.parametrize(
        ("kind", "term", "found"),
        [
            ("products/product", "CRÈME", True),
            ("products/product", "creme", True),
            ("products/product", "rye", False),
            ("products/portion", "100G", True),
            ("food_entries/foodentry", "brûl", True),
            ("food_entries/foodentry", "rye", False),
        ],
    )
    def test_of_a_device_are_found_by_a_part_of_their_name(self, support, device, other_device, kind, term, found):
        entries = [
            FoodEntryFactory(product=ProductFactory(device=of, name="Crème brûlée")) for of in (device, other_device)
        ]

        page = support.get(f"/admin/{kind}/", {"device__id__exact": device.pk, "q": term}).content.decode()
        elsewhere = support.get(f"/admin/{kind}/", {"q": term}).content.decode()

        assert (f"/admin/{kind}/" in page.partition('id="result_list"')[2]) == found
        assert str(entries[1].pk) not in page
        assert 'id="result_list"' not in elsewhere

    @pytest.mark.parametrize("device_id", ["x", "", "%00", "0d9c3c5e"])
    def test_are_not_listed_for_an_unknown_device(self, support, product, device_id):
        response = support.get(f"/admin/products/product/?device__id__exact={device_id}", follow=True)

        assert response.status_code == 200
        assert str(product.pk) not in response.content.decode()

    def test_are_corrected_in_a_change_set(self, support, api, device, product):
        before = api.get(f"/v1/products/{product.pk}")

        support.post(f"/admin/products/product/{product.pk}/change/", form_of(product, name="Éclair", kcal_100g=262))

        device.refresh_from_db()
        product.refresh_from_db()
        assert (product.name, product.name_key, product.kcal_100g) == ("Éclair", "eclair", 262)
        assert product.revision == device.revision == 3
        again = api.get(f"/v1/products/{product.pk}", headers={"If-None-Match": before["ETag"]})
        assert again.json()["name"] == "Éclair"

    def test_are_not_changed_by_a_form_without_changes(self, support, device, product):
        page = support.post(f"/admin/products/product/{product.pk}/change/", form_of(product)).content.decode()

        device.refresh_from_db()
        product.refresh_from_db()
        assert "there is nothing to save" in page
        assert (device.revision, product.updated_at) == (2, None)
        assert entries.recorded_changes() == []

    def test_are_corrected_with_a_reason_for_the_audit_log(self, support, product):
        address = f"/admin/products/product/{product.pk}/change/"
        refused = support.post(address, form_of(product, name="Rye", reason=" "))
        stored = support.post(address, form_of(product, name="Rye", kcal_100g=1, reason="A typo."))

        assert (refused.status_code, stored.status_code) == (200, 302)
        assert entries.recorded_changes() == ["Corrected name, energy. A typo."]
        entry = AuditEntry.objects.latest("pk")
        assert (entry.user_name, entry.object_id, entry.device_id) == ("ada", str(product.pk), product.device_id)

    def test_keep_their_bounds_and_their_barcodes(self, support, device, product):
        other = ProductFactory(device=device)

        page = support.post(
            f"/admin/products/product/{other.pk}/change/", form_of(other, kcal_100g=1001, barcode=product.barcode)
        ).content.decode()

        assert "Ensure this value is less than or equal to 1000." in page
        assert page.count("Another product has this barcode.") == 1
        assert f'<a href="/admin/products/product/{product.pk}/change/">Open the other product</a>' in page
        assert "He asked for it.</textarea>" in page

    def test_link_to_the_row_that_has_the_barcode_in_another_spelling(self, support, device):
        taken, other = ProductFactory(device=device, barcode="0012345678905"), ProductFactory(device=device)

        page = support.post(
            f"/admin/products/product/{other.pk}/change/", form_of(other, barcode="012345678905")
        ).content.decode()

        assert page.count("Another product has this barcode.") == 1
        assert f"/admin/products/product/{taken.pk}/change/" in page

    def test_keep_a_visible_name(self, support, product):
        address = f"/admin/products/product/{product.pk}/change/"

        page = support.post(address, form_of(product, name="\u200b")).content.decode()

        assert "This name has no visible character." in page

    def test_are_corrected_even_if_another_value_is_older_than_its_rule(self, support, device):
        row = ProductFactory(device=device, name="\u200b", kcal_100g=1)

        support.post(f"/admin/products/product/{row.pk}/change/", form_of(row, kcal_100g=2))

        row.refresh_from_db()
        assert (row.name, row.kcal_100g) == ("\u200b", 2)

    def test_lose_a_barcode_to_null(self, support, product):
        support.post(f"/admin/products/product/{product.pk}/change/", form_of(product, barcode=""))

        product.refresh_from_db()
        assert product.barcode is None

    def test_that_are_deleted_are_only_shown(self, support, device, product):
        with change_set(device):
            product.soft_delete()

        address = f"/admin/products/product/{product.pk}/change/"
        shown = support.get(address)
        posted = support.post(address, form_of(product, name="Other"))

        assert (shown.status_code, "<textarea" in shown.content.decode()) == (200, False)
        assert "This product was deleted at 20" in shown.text
        assert "The row has been deleted. Nothing was saved." in posted.text
        assert "<li>Name: Other</li><li>Reason: He asked for it.</li>" in posted.text
        product.refresh_from_db()
        assert product.name == "Rye bread"

    def test_are_not_changed_if_the_phone_changed_them_in_between(self, support, api, device, product):
        opened = form_of(product)
        api.patch(f"/v1/products/{product.pk}", {"kcal_100g": 240})

        page = support.post(
            f"/admin/products/product/{product.pk}/change/", opened | {"name": "Other"}, follow=True
        ).content.decode()

        product.refresh_from_db()
        assert "The row has changed since you opened it. This page shows its current state. Nothing was saved." in page
        assert "Nothing was saved." in page
        assert f'name="seen" value="{product.revision}"' in page
        assert 'name="kcal_100g" value="240"' in page
        assert "<li>Name: Other</li>" in page
        assert "He asked for it.</textarea>" in page
        assert (product.name, product.kcal_100g) == ("Rye bread", 240)
        assert entries.recorded_changes() == []

    @pytest.mark.parametrize("seen", ["", "x", "1", "3", None])
    def test_are_not_changed_by_a_form_with_another_revision(self, support, product, seen):
        support.post(f"/admin/products/product/{product.pk}/change/", form_of(product, name="Other", seen=seen))

        product.refresh_from_db()
        assert product.name == "Rye bread"

    def test_of_a_portion_are_corrected(self, support, device, product):
        portion = PortionFactory(product=product, name="Slice", grams="35.50")

        sent = {"name": "Slice", "grams": "36", "seen": portion.revision, "reason": "Weighed again."}
        support.post(f"/admin/products/portion/{portion.pk}/change/", sent)

        portion.refresh_from_db()
        assert portion.grams == 36
        assert Portion.objects.for_device(device).filter(product=product, is_default=True).count() == 1

    def test_can_not_be_added_or_removed(self, support, product):
        for kind, row in (("product", product), ("portion", product.portions.get())):
            assert support.get(f"/admin/products/{kind}/add/").status_code == 403
            assert support.post(f"/admin/products/{kind}/{row.pk}/delete/", {"post": "yes"}).status_code == 403


class TestTheAdmin:
    def test_redirects_to_the_login(self, anonymous):
        for address in ("/admin/", "/admin/devices/device/", "/admin/products/product/"):
            assert anonymous.get(address)["Location"] == f"/admin/login/?next={address}"

    def test_redirects_to_the_address_with_a_slash(self, anonymous):
        assert anonymous.get("/admin")["Location"] == "/admin/"
