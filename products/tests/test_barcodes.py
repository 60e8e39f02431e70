"""Barcodes are compared as numbers: a product keeps the spelling that was sent."""

from importlib import import_module

import pytest
from django.apps import apps

from ownership.models import change_set
from products.models import Product
from products.tests.factories import ProductFactory
from tests.harness.errors import conflict_body
from tests.harness.sync import ALL_STORED, errors_of, live_rows, product, push_ok, revision

TAKEN = "Another product has this barcode."
SPELLINGS = ("04252614", "042100005264", "0042100005264", "00042100005264")
EAN_8, EAN_8_AS_14 = "96385074", "00000096385074"
PAIRS = [(one, other) for one in SPELLINGS for other in SPELLINGS] + [(EAN_8, EAN_8_AS_14), (EAN_8_AS_14, EAN_8)]
pairs = pytest.mark.parametrize(("stored", "sent"), PAIRS)


def forget_keys(*products: Product) -> None:
    """Store the products as the previous release did, which has no keys."""
    Product._base_manager.filter(pk__in=[each.pk for each in products]).update(barcode_key=None)


def key_of(row: Product) -> int | None:
    return Product._base_manager.values_list("barcode_key", flat=True).get(pk=row.pk)


@pytest.fixture
def soup(device) -> Product:
    return ProductFactory(device=device, name="Soup", barcode=SPELLINGS[0])


@pytest.fixture
def twins(device) -> list[Product]:
    """Two products with the same barcode in two spellings, as the previous release stored them. Only one has a key."""
    first = ProductFactory(device=device, name="First", barcode=SPELLINGS[1])
    second = ProductFactory(device=device, name="Second", barcode=EAN_8)
    with change_set(device):
        Product.objects.for_device(device).filter(pk=second.pk).update(barcode=SPELLINGS[2], barcode_key=None)
    return [first, Product.objects.for_device(device).get(pk=second.pk)]


class TestOverREST:
    @pytest.mark.parametrize("barcode", [*SPELLINGS, EAN_8_AS_14, "01233148", "04252610"])
    def test_are_stored_as_sent(self, api, barcode):
        created = api.post("/v1/products", {"name": "Soup", "kcal_100g": 1, "barcode": barcode}).json()

        assert created["barcode"] == barcode
        assert api.get(f"/v1/products/{created['id']}").json()["barcode"] == barcode

    @pairs
    def test_conflict_in_any_spelling(self, api, device, all_rows, stored, sent):
        taken = ProductFactory(device=device, barcode=stored)
        other = ProductFactory(device=device)
        before = all_rows()

        created = api.post("/v1/products", {"name": "Soup", "kcal_100g": 1, "barcode": sent})
        changed = api.patch(f"/v1/products/{other.pk}", {"barcode": sent})

        for response in (created, changed):
            assert response.status_code == 409
            assert response.json() == conflict_body(TAKEN, taken.pk)
        assert all_rows() == before

    @pairs
    def test_can_be_written_in_another_spelling(self, api, device, stored, sent):
        row = ProductFactory(device=device, barcode=stored)

        response = api.patch(f"/v1/products/{row.pk}", {"barcode": sent})

        assert response.status_code == 200
        assert response.json()["barcode"] == sent

    @pairs
    def test_are_free_after_a_deletion_and_on_another_device(self, api, device, other_device, stored, sent):
        gone = ProductFactory(device=device, barcode=stored)
        ProductFactory(device=other_device, barcode=stored)
        api.delete(f"/v1/products/{gone.pk}")

        assert api.post("/v1/products", {"name": "Soup", "kcal_100g": 1, "barcode": sent}).status_code == 201

    @pairs
    def test_are_found_in_any_spelling(self, api, device, other_device, stored, sent):
        row = ProductFactory(device=device, barcode=stored)
        ProductFactory(device=device, barcode="4006381333931"), ProductFactory(device=device)
        ProductFactory(device=other_device, barcode=stored)

        found = api.get("/v1/products", {"barcode": sent}).json()

        assert [(each["id"], each["barcode"]) for each in found] == [(str(row.pk), stored)]

    @pytest.mark.parametrize("barcode", ["04252615", "24252618", "4252614", "042526140", "٠٤٢٥٢٦١٤"])
    def test_are_refused_if_they_are_invalid(self, api, barcode):
        sent = api.post("/v1/products", {"name": "Soup", "kcal_100g": 1, "barcode": barcode})
        sought = api.get("/v1/products", {"barcode": barcode})

        for response in (sent, sought):
            assert response.status_code == 422
            assert [error["loc"] for error in response.json()["errors"]] == [["barcode"]]


class TestWithoutAKey:
    """Products of the previous release that got no key, because another one has the same barcode."""

    def test_can_be_changed(self, api, twins):
        for row in twins:
            response = api.patch(f"/v1/products/{row.pk}", {"name": "Renamed", "barcode": row.barcode})

            assert response.status_code == 200
        assert [key_of(row) for row in twins] == [42100005264, None]

    def test_get_a_key_with_a_new_barcode(self, api, twins):
        assert api.patch(f"/v1/products/{twins[1].pk}", {"barcode": EAN_8}).status_code == 200

        assert key_of(twins[1]) == 96385074

    def test_can_not_get_the_same_barcode_in_another_spelling(self, api, twins):
        response = api.patch(f"/v1/products/{twins[1].pk}", {"barcode": SPELLINGS[0]})

        assert response.status_code == 409
        assert response.json() == conflict_body(TAKEN, twins[0].pk)

    def test_are_found_by_their_own_spelling(self, api, twins):
        found = [[row["name"] for row in api.get("/v1/products", {"barcode": each}).json()] for each in SPELLINGS]

        assert found == [["First"], ["First"], ["First", "Second"], ["First"]]

    def test_keep_their_spelling_for_themselves(self, api, twins):
        api.delete(f"/v1/products/{twins[0].pk}")

        response = api.post("/v1/products", {"name": "Soup", "kcal_100g": 1, "barcode": twins[1].barcode})

        assert response.status_code == 409
        assert response.json() == conflict_body(TAKEN, twins[1].pk)

    def test_are_judged_when_they_are_restored(self, api, device, support, twins):
        api.delete(f"/v1/products/{twins[1].pk}")
        gone = Product.all_objects.for_device(device).get(pk=twins[1].pk)

        page = support.post(
            f"/admin/products/product/{gone.pk}/restore/", {"reason": "She asked.", "seen": gone.revision}, follow=True
        )

        assert TAKEN in page.content.decode()
        assert api.get(f"/v1/products/{gone.pk}").status_code == 404


class TestWithAKeyOfAnotherBarcode:
    """The previous release has changed or removed the barcode of the soup, and left the key."""

    @pytest.fixture(params=[None, EAN_8], autouse=True)
    def barcode(self, request, device, soup) -> str | None:
        with change_set(device):
            Product.objects.for_device(device).filter(pk=soup.pk).update(barcode=request.param)
        return request.param

    def test_lose_it_with_the_next_change(self, api, soup, barcode):
        assert api.patch(f"/v1/products/{soup.pk}", {"barcode": barcode}).status_code == 200

        assert key_of(soup) is None
        assert api.post("/v1/products", {"name": "Stew", "kcal_100g": 1, "barcode": SPELLINGS[1]}).status_code == 201

    def test_get_the_key_of_a_new_barcode(self, api, soup):
        assert api.patch(f"/v1/products/{soup.pk}", {"barcode": SPELLINGS[1]}).status_code == 200

        assert key_of(soup) == 42100005264

    def test_let_a_push_store_the_other_rows(self, api, soup):
        new, other = product(barcode=SPELLINGS[1]), product()

        answer = push_ok(api, revision(api), products={"created": [new, other]})

        assert errors_of(answer) == [("products", new["id"], [("barcode", "unique")])]
        assert other["id"] in live_rows(api, "products")

    def test_lose_it_with_the_next_push(self, api, soup):
        row = live_rows(api, "products")[str(soup.pk)] | {"name": "Stew"}
        new = product(barcode=SPELLINGS[1])

        assert push_ok(api, revision(api), products={"updated": [row]}) == ALL_STORED
        assert key_of(soup) is None
        assert push_ok(api, revision(api), products={"created": [new]}) == ALL_STORED


class TestOverSync:
    @pairs
    def test_stay_with_the_stored_product(self, api, device, stored, sent):
        ProductFactory(device=device, barcode=stored)
        row = product(barcode=sent)

        answer = push_ok(api, revision(api), products={"created": [row]})

        assert errors_of(answer) == [("products", row["id"], [("barcode", "unique")])]

    def test_go_to_the_product_that_is_applied_first(self, api):
        rows = [product(barcode=each) for each in SPELLINGS]

        answer = push_ok(api, products={"updated": rows[:3], "created": rows[3:]})

        assert {row_id for _, row_id, _ in errors_of(answer)} == {row["id"] for row in rows[:3]}
        assert [row["barcode"] for row in live_rows(api, "products").values()] == [SPELLINGS[3]]

    def test_can_be_swapped_in_other_spellings(self, api):
        one, two = product(barcode=SPELLINGS[0]), product(barcode=EAN_8)
        push_ok(api, products={"created": [one, two]})
        swapped = [one | {"barcode": EAN_8_AS_14}, two | {"barcode": SPELLINGS[2]}]

        assert push_ok(api, revision(api), products={"updated": swapped}) == ALL_STORED
        assert live_rows(api, "products") == {row["id"]: row for row in swapped}

    def test_can_move_to_another_product_in_another_spelling(self, api):
        one, two = product(barcode=SPELLINGS[0]), product()
        push_ok(api, products={"created": [one, two]})
        moved = [two | {"barcode": SPELLINGS[1]}, one | {"barcode": None}]

        assert push_ok(api, revision(api), products={"updated": moved}) == ALL_STORED

    def test_can_be_written_in_another_spelling(self, api):
        row = product(barcode=SPELLINGS[0])
        push_ok(api, products={"created": [row]})

        assert push_ok(api, revision(api), products={"updated": [row | {"barcode": SPELLINGS[1]}]}) == ALL_STORED
        assert live_rows(api, "products")[row["id"]]["barcode"] == SPELLINGS[1]

    def test_are_not_judged_if_they_are_unchanged(self, api, twins):
        rows = list(live_rows(api, "products").values())
        renamed = [row | {"name": f"{row['name']} again"} for row in rows]

        assert push_ok(api, revision(api), products={"updated": renamed}) == ALL_STORED
        assert live_rows(api, "products") == {row["id"]: row for row in renamed}
        assert [key_of(row) for row in twins] == [42100005264, None]

    def test_are_rejected_if_a_product_without_a_key_has_the_same_spelling(self, api, twins):
        api.delete(f"/v1/products/{twins[0].pk}")
        row = product(barcode=twins[1].barcode)

        answer = push_ok(api, revision(api), products={"created": [row]})

        assert errors_of(answer) == [("products", row["id"], [("barcode", "unique")])]

    def test_of_two_products_without_keys_can_be_swapped(self, api, device, twins):
        forget_keys(*twins)
        rows = {row["name"]: row for row in live_rows(api, "products").values()}
        swapped = [rows["First"] | {"barcode": EAN_8}, rows["Second"] | {"barcode": rows["First"]["barcode"]}]

        assert push_ok(api, revision(api), products={"updated": swapped}) == ALL_STORED
        assert [key_of(row) for row in twins] == [96385074, 42100005264]

    def test_of_a_rejected_row_are_not_free_for_others(self, api, device):
        """`first` keeps its barcode because `second` has the one that it wants, so `third` can't get it."""
        first, second, third = product(barcode=SPELLINGS[0]), product(barcode=EAN_8), product()
        push_ok(api, products={"created": [first, second, third]})
        wanted = [third | {"barcode": SPELLINGS[1]}, first | {"barcode": EAN_8_AS_14}]

        answer = push_ok(api, revision(api), products={"updated": wanted})

        assert {row_id for _, row_id, _ in errors_of(answer)} == {first["id"], third["id"]}
        assert live_rows(api, "products") == {row["id"]: row for row in (first, second, third)}


class TestForSupport:
    def test_conflict_in_a_correction(self, support, soup, device, all_rows):
        other = ProductFactory(device=device, name="Broth")
        before = all_rows()
        sent = {
            "name": "Broth",
            "kcal_100g": 250,
            "protein_100g": "10.5",
            "carbs_100g": "30.25",
            "unit": "g",
            "barcode": SPELLINGS[2],
        }

        page = support.post(
            f"/admin/products/product/{other.pk}/change/",
            sent | {"reason": "A typo.", "seen": other.revision},
            follow=True,
        )

        assert TAKEN in page.content.decode()
        assert all_rows() == before

    def test_are_found_in_any_spelling(self, support, soup, device, other_device):
        ProductFactory(device=device), ProductFactory(device=other_device, barcode=SPELLINGS[1])

        for spelling in SPELLINGS:
            page = support.get("/admin/products/product/", {"device__id__exact": device.pk, "q": f" {spelling} "})

            assert [row.pk for row in page.context["cl"].result_list] == [soup.pk]


class TestTheMigration:
    migration = import_module("products.migrations.0007_fill_barcode_keys")

    def test_gives_keys_to_all_but_the_younger_duplicates(self, device, other_device, twins):
        other = ProductFactory(device=other_device, barcode=SPELLINGS[3])
        plain = ProductFactory(device=device)
        forget_keys(*twins, other)

        self.migration.fill_barcode_keys(apps, None)

        assert [key_of(row) for row in (*twins, other, plain)] == [42100005264, None, 42100005264, None]

    def test_gives_keys_to_all_deleted_products(self, api, twins):
        for row in twins:
            api.delete(f"/v1/products/{row.pk}")
        forget_keys(*twins)

        self.migration.fill_barcode_keys(apps, None)

        assert [key_of(row) for row in twins] == [42100005264] * 2

    def test_changes_nothing_if_it_runs_again(self, twins, all_rows):
        before = all_rows()

        self.migration.fill_barcode_keys(apps, None)

        assert all_rows() == before

    def test_stores_upc_es_in_full_when_it_is_reversed(self, device, soup):
        ean = ProductFactory(device=device, barcode="04252610")

        self.migration.expand_upc_es(apps, None)

        for row, barcode in ((soup, "042100005264"), (ean, "04252610")):
            row.refresh_from_db()
            assert row.barcode == barcode
