"""New products that are copied from foods of the catalogue."""

from uuid import UUID, uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from catalog.models import CatalogFood
from catalog.tests import import_foods, make_food
from nutrition.nutrients import NAMES_100G
from ownership.tests.counters import counted, counters
from products.copying import cut_name
from products.models import Product
from products.tests.factories import ProductFactory

PRODUCTS = "/v1/products"
NUTELLA = "03017620422003"
SPOONS = [("1 spoon", 15.0), ("1 jar", 400.0), ("1 bread", 20.5)]


def nutella(**values):
    fields = {"source_id": NUTELLA, "barcode": NUTELLA, "brand": "Ferrero", "kcal_100g": 539, "unit": "ml"}
    nutrients = {"protein_100g": 6.3, "fat_100g": 30.9, "salt_100g": 0.0}
    return make_food("Nutella", **fields | {"nutrients": nutrients, "portions": SPOONS} | values)


@pytest.fixture
def food(db) -> str:
    import_foods(nutella())
    return str(nutella().id)


def copy(api, food: str, **values):
    return api.post(PRODUCTS, {"catalog_food_id": food} | values)


def copied(api, food: str, **values) -> dict:
    response = copy(api, food, **values)
    assert response.status_code == 201, response.content
    return response.json()


def portions_of(product: dict) -> list[tuple]:
    return [(portion["name"], portion["grams"], portion["is_default"]) for portion in product["portions"]]


class TestACopy:
    def test_has_all_that_the_catalogue_knows(self, api, device, food):
        product = copied(api, food)

        assert {
            name: product[name] for name in ("name", "brand", "kcal_100g", "unit", "barcode", "catalog_food_id")
        } == {
            "name": "Nutella",
            "brand": "Ferrero",
            "kcal_100g": 539,
            "unit": "ml",
            "barcode": NUTELLA,
            "catalog_food_id": food,
        }
        known = {"protein_100g": 6.3, "fat_100g": 30.9, "salt_100g": 0.0}
        assert {name: product[name] for name in NAMES_100G} == dict.fromkeys(NAMES_100G) | known
        assert portions_of(product) == [("1 spoon", 15.0, True), ("1 bread", 20.5, False), ("1 jar", 400.0, False)]
        assert api.get(f"{PRODUCTS}/{product['id']}").json() == product
        assert counters(device) == counted(device)

    def test_has_what_is_sent_instead(self, api, food):
        sent = {
            "name": "Mine",
            "brand": None,
            "kcal_100g": 500,
            "fat_100g": None,
            "unit": "g",
            "barcode": "4006381333931",
            "is_favorite": True,
            "portions": [{"name": "Knife", "grams": 7}],
        }

        product = copied(api, food, **sent)

        assert {name: product[name] for name in sent.keys() - {"portions"}} == {
            name: value for name, value in sent.items() if name != "portions"
        }
        assert product["protein_100g"] == 6.3
        assert portions_of(product) == [("Knife", 7.0, True)]

    def test_has_100g_if_there_are_no_portions(self, api, db):
        import_foods(nutella(portions=[]))

        assert portions_of(copied(api, str(nutella().id))) == [("100g", 100.0, True)]

    def test_has_no_portions_of_the_food_if_an_empty_array_is_sent(self, api, food):
        assert portions_of(copied(api, food, portions=[])) == [("100g", 100.0, True)]

    def test_is_possible_after_the_food_was_withdrawn(self, api, food):
        CatalogFood.objects.update(tier=None)

        assert copied(api, food)["name"] == "Nutella"

    def test_stays_as_it_is_after_an_import(self, api, food):
        product = copied(api, food)

        import_foods(nutella(kcal_100g=1, source_modified=1))

        assert api.get(f"{PRODUCTS}/{product['id']}").json() == product

    def test_has_a_name_that_is_cut_at_a_word(self, api, db):
        name = "Egg, whole, " + "raw, " * 16 + "freshest-of-the-day"
        food = make_food(name, barcode=None)
        import_foods(food)

        short = copied(api, str(food.id))["name"]

        assert short == "Egg, whole, " + "raw, " * 15 + "raw"

    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("a" * 100, "a" * 100),
            ("a" * 101, "a" * 100),
            ("a" * 100 + " b", "a" * 100),
            ("a" * 99 + ", b", "a" * 99),
            ("a " * 60, "a " * 49 + "a"),
            (" ," * 100, (" ," * 50)),
        ],
    )
    def test_has_a_name_of_at_most_100_characters(self, name, expected):
        assert cut_name(name) == expected

    def test_leaves_out_names_that_can_not_be_seen(self, api, db):
        food = make_food("Milk", barcode=None, brand="\u2800", portions=[("\u2800", 1.0), ("cup", 2.0)])
        import_foods(food)

        product = copied(api, str(food.id))

        assert product["brand"] is None
        assert portions_of(product) == [("cup", 2.0, True)]

    def test_takes_as_many_queries_for_any_number_of_portions(self, api, db):
        many = make_food("Bread", barcode=None, portions=[(f"Slice {number}", 1.0) for number in range(50)])
        import_foods(nutella(), many)
        copied(api, str(nutella().id))
        api.delete(f"{PRODUCTS}/{Product.objects.get().pk}")

        with CaptureQueriesContext(connection) as few:
            copied(api, str(nutella().id))
        with CaptureQueriesContext(connection) as more:
            assert len(copied(api, str(many.id))["portions"]) == 50

        assert len(more) <= len(few)


class TestTheBarcode:
    @pytest.mark.parametrize("barcode", [NUTELLA, NUTELLA[1:]])
    def test_is_left_out_if_another_live_product_has_it(self, api, device, food, barcode):
        ProductFactory(device=device, barcode=barcode)

        assert copied(api, food)["barcode"] is None

    def test_is_copied_if_a_deleted_product_had_it(self, api, food):
        api.delete(f"{PRODUCTS}/{copied(api, food)['id']}")

        assert copied(api, food)["barcode"] == NUTELLA

    def test_is_copied_if_another_device_has_it(self, api, other_device, food):
        ProductFactory(device=other_device, barcode=NUTELLA)

        assert copied(api, food)["barcode"] == NUTELLA

    def test_is_refused_if_it_is_sent_and_taken(self, api, device, food):
        ProductFactory(device=device, barcode=NUTELLA)

        assert copy(api, food, barcode=NUTELLA).status_code == 409


class TestAnUnknownFood:
    @pytest.mark.parametrize("sent", [{}, {"name": "Bread"}, {"kcal_100g": 250}, {"name": "Bread", "barcode": "x"}])
    def test_is_refused_if_it_is_needed(self, api, all_rows, sent):
        before = all_rows()

        response = copy(api, str(uuid4()), **sent)

        assert response.status_code == 422
        ((loc, type_),) = [(error["loc"], error["type"]) for error in response.json()["errors"]]
        assert (loc, type_) == (["catalog_food_id"], "does_not_exist")
        assert all_rows() == before

    def test_can_not_have_the_nil_uuid(self, api):
        errors = copy(api, str(UUID(int=0))).json()["errors"]

        assert {(*error["loc"], error["type"]) for error in errors} == {
            ("catalog_food_id", "nil"),
            ("name", "required"),
            ("kcal_100g", "required"),
        }

    def test_is_stored_if_the_product_needs_none(self, api):
        food = str(uuid4())

        assert copied(api, food, name="Bread", kcal_100g=250)["catalog_food_id"] == food

    @pytest.mark.parametrize("food", [None, "x", 7, "", [], {}, "00000000-0000-0000-0000-000000000000"])
    def test_may_have_any_form(self, api, food):
        assert copy(api, food).status_code == 422


class TestAnUpdate:
    def test_copies_nothing(self, api, food):
        product = api.post(PRODUCTS, {"name": "Bread", "kcal_100g": 250}).json()

        changed = api.patch(f"{PRODUCTS}/{product['id']}", {"catalog_food_id": food}).json()

        unchanged = product.keys() - {"catalog_food_id", "updated_at"}
        assert changed["catalog_food_id"] == food
        assert {name: changed[name] for name in unchanged} == {name: product[name] for name in unchanged}


class TestARetry:
    def test_returns_the_stored_product(self, api, food, all_rows):
        sent = {"id": str(uuid4())}
        first = copied(api, food, **sent)
        before = all_rows()
        CatalogFood.objects.all().delete()

        retry = copy(api, food, **sent)

        assert (retry.status_code, retry.json()) == (200, first)
        assert all_rows() == before


class TestAQuota:
    def test_cuts_the_portions_of_a_product(self, api, food, settings):
        settings.MAX_PORTIONS_PER_PRODUCT = 2

        assert portions_of(copied(api, food)) == [("1 spoon", 15.0, True), ("1 jar", 400.0, False)]

    @pytest.mark.parametrize("quota", ["MAX_PORTIONS", "MAX_PRODUCTS"])
    def test_stores_nothing_if_it_is_reached(self, api, device, food, settings, all_rows, quota):
        ProductFactory(device=device)
        setattr(settings, quota, 1 if quota == "MAX_PRODUCTS" else 3)
        before = all_rows()

        assert copy(api, food).status_code == 507
        assert all_rows() == before
        assert counters(device) == counted(device)
