from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest
from django.db import connection
from django.utils.dateparse import parse_datetime

from ownership.models import change_set
from products.models import Portion, Product
from products.tests.factories import PortionFactory, ProductFactory
from tests.harness.errors import conflict_body, id_taken_body, validation_error_body

EAN = "4006381333931"
OTHER_EAN = "96385074"
ID = "7f1c2f6e-61a5-4a6a-9d55-0a3f0c5f8e10"

BARCODE_TAKEN = "Another product has this barcode."
NOT_FOUND = {"detail": "Product not found"}


def names(response) -> list[str]:
    assert response.status_code == 200
    return [product["name"] for product in response.json()]


class TestCreateProduct:
    def test_stores_it_with_its_default_portion(self, api, device):
        before = datetime.now(UTC)

        response = api.post(
            "/v1/products",
            {
                "name": "Rye bread",
                "brand": " Mill & Oven ",
                "kcal_100g": 259,
                "protein_100g": 8.5,
                "carbs_100g": 48.3,
                "fat_100g": 3.3,
                "sugars_100g": 3.849,
                "saturated_fat_100g": 0.625,
                "fiber_100g": 0,
                "salt_100g": None,
                "unit": "ml",
                "barcode": EAN,
                "is_favorite": True,
                "catalog_food_id": ID.upper(),
            },
        )

        product, portion = device.products.get(), device.portions.get()
        assert response.status_code == 201
        assert response.json() == {
            "id": str(product.pk),
            "name": "Rye bread",
            "brand": "Mill & Oven",
            "kcal_100g": 259,
            "protein_100g": 8.5,
            "carbs_100g": 48.3,
            "fat_100g": 3.3,
            "sugars_100g": 3.85,
            "saturated_fat_100g": 0.63,
            "fiber_100g": 0.0,
            "salt_100g": None,
            "unit": "ml",
            "barcode": EAN,
            "is_favorite": True,
            "catalog_food_id": ID,
            "portions": [
                {
                    "id": str(portion.pk),
                    "product_id": str(product.pk),
                    "name": "100g",
                    "grams": 100.0,
                    "is_default": True,
                    "created_at": response.json()["portions"][0]["created_at"],
                    "updated_at": None,
                }
            ],
            "created_at": response.json()["created_at"],
            "updated_at": None,
        }
        assert response.json()["created_at"].endswith("Z")
        assert before <= parse_datetime(response.json()["created_at"]) == product.created_at <= datetime.now(UTC)
        assert parse_datetime(response.json()["portions"][0]["created_at"]) == portion.created_at
        assert api.get(f"/v1/products/{product.pk}").json() == response.json()

    def test_requires_only_a_name_and_kcal(self, api):
        response = api.post("/v1/products", {"name": "Water", "kcal_100g": 0})

        assert response.status_code == 201
        product = response.json()
        assert (product["unit"], product["is_favorite"]) == ("g", False)
        optional = product.keys() - {"id", "name", "kcal_100g", "unit", "is_favorite", "portions", "created_at"}
        assert len(optional) == 11
        assert {name: product[name] for name in optional} == dict.fromkeys(optional)

    def test_increments_the_revision_once(self, api, device):
        api.post("/v1/products", {"name": "Rye", "kcal_100g": 250})

        device.refresh_from_db()
        assert device.revision == device.products.get().revision == device.portions.get().revision == 2

    def test_generates_an_id_if_none_is_sent(self, api):
        first, second = (api.post("/v1/products", {"name": "Rye", "kcal_100g": 250}) for _ in range(2))

        assert (first.status_code, second.status_code) == (201, 201)
        assert UUID(first.json()["id"]) != UUID(second.json()["id"])

    @pytest.mark.parametrize("chosen", [ID, ID.upper(), "00000000-0000-0000-0000-000000000001"])
    def test_uses_the_id_sent_by_the_client(self, api, device, chosen):
        response = api.post("/v1/products", {"id": chosen, "name": "Rye", "kcal_100g": 250})

        assert response.status_code == 201
        assert response.json()["id"] == chosen.lower()
        assert device.products.get().pk == UUID(chosen)

    def test_ignores_unknown_and_read_only_fields(self, api, device, other_device):
        response = api.post(
            "/v1/products",
            {
                "name": "Rye",
                "kcal_100g": 250,
                "colour": "brown",
                "device": str(other_device.pk),
                "device_id": str(other_device.pk),
                "revision": 99,
                "name_key": "zebra",
                "created_at": "2001-01-01T00:00:00Z",
                "updated_at": "2001-01-01T00:00:00Z",
                "deleted_at": "2001-01-01T00:00:00Z",
                "brand_key": "zebra",
            },
        )

        product = device.products.get()
        assert response.status_code == 201
        assert (product.name_key, product.brand_key, product.revision, product.updated_at) == ("rye", None, 2, None)
        assert product.created_at.year > 2001
        assert [portion["name"] for portion in response.json()["portions"]] == ["100g"]


class TestRetryCreateProduct:
    @pytest.mark.parametrize(
        "body",
        [
            {"name": "Rye", "kcal_100g": 250},
            {"name": "Other", "kcal_100g": 1, "barcode": EAN},
            {"name": "Other", "kcal_100g": 1, "barcode": OTHER_EAN},
            {"name": "", "kcal_100g": "x", "fat_100g": -1},
            {},
        ],
        ids=["the same", "other values", "a barcode that is taken", "bad values", "nothing"],
    )
    @pytest.mark.parametrize("chosen", [ID, ID.upper()])
    def test_returns_the_stored_row_whatever_else_is_sent(self, api, device, all_rows, chosen, body):
        ProductFactory(device=device, barcode=OTHER_EAN)
        first = api.post("/v1/products", {"id": ID, "name": "Rye", "kcal_100g": 250})
        before = all_rows()

        response = api.post("/v1/products", {"id": chosen, **body})

        assert response.status_code == 200
        assert response.json() == first.json()
        assert all_rows() == before

    def test_returns_the_current_state_of_the_row(self, api, device, all_rows):
        sent = {"id": ID, "name": "Rye", "kcal_100g": 250}
        api.post("/v1/products", sent)
        changed = api.patch(f"/v1/products/{ID}", {"name": "Wheat"})
        PortionFactory(product=device.products.get(), name="Slice")
        before = all_rows()

        response = api.post("/v1/products", sent)

        assert response.status_code == 200
        assert response.json()["name"] == "Wheat"
        assert response.json()["updated_at"] == changed.json()["updated_at"]
        assert [portion["name"] for portion in response.json()["portions"]] == ["100g", "Slice"]
        assert all_rows() == before

    def test_returns_409_if_the_row_is_deleted(self, api, device, all_rows):
        ProductFactory(id=ID, device=device)
        api.delete(f"/v1/products/{ID}")
        before = all_rows()

        response = api.post("/v1/products", {"id": ID, "name": "Again", "kcal_100g": 1})

        assert response.status_code == 409
        assert response.json() == id_taken_body(ID)
        assert all_rows() == before

    @pytest.mark.parametrize("is_deleted", [False, True], ids=["live", "deleted"])
    def test_returns_409_if_the_row_belongs_to_another_device(self, api, other_api, other_device, all_rows, is_deleted):
        ProductFactory(id=ID, device=other_device)
        if is_deleted:
            other_api.delete(f"/v1/products/{ID}")
        before = all_rows()

        response = api.post("/v1/products", {"id": ID.upper(), "name": "Mine", "kcal_100g": 1})

        assert response.status_code == 409
        assert response.json() == id_taken_body(ID)
        assert all_rows() == before


class TestReadProduct:
    def test_shows_it_with_its_live_portions(self, api, device):
        product = ProductFactory(device=device, name="Rye", barcode=EAN)
        PortionFactory(product=product, name="slice")
        PortionFactory(product=product, name="Loaf")
        gone = PortionFactory(product=product, name="Crumb")
        ProductFactory(device=device)
        api.delete(f"/v1/portions/{gone.pk}")

        response = api.get(f"/v1/products/{product.pk}")

        assert response.status_code == 200
        assert response.json()["id"] == str(product.pk)
        assert [portion["name"] for portion in response.json()["portions"]] == ["100g", "Loaf", "slice"]
        assert {portion["product_id"] for portion in response.json()["portions"]} == {str(product.pk)}

    def test_finds_it_by_an_id_in_upper_case(self, api, device):
        ProductFactory(id=ID, device=device)

        response = api.get(f"/v1/products/{ID.upper()}")

        assert response.status_code == 200
        assert response.json()["id"] == ID

    def test_takes_three_queries(self, api, device, django_assert_num_queries):
        product = ProductFactory(device=device)
        for _ in range(4):
            PortionFactory(product=product)

        with django_assert_num_queries(3):  # the device of the token, the product, its portions
            response = api.get(f"/v1/products/{product.pk}")

        assert len(response.json()["portions"]) == 5


@pytest.mark.parametrize("method", ["put", "patch"])
class TestUpdateProduct:
    def test_changes_the_fields_that_are_sent(self, api, device, method):
        product = ProductFactory(device=device, name="Rye", barcode=EAN)
        before = api.get(f"/v1/products/{product.pk}").json()

        response = getattr(api, method)(f"/v1/products/{product.pk}", {"kcal_100g": 300, "protein_100g": None})

        device.refresh_from_db()
        product.refresh_from_db()
        assert response.status_code == 200
        assert response.json() == before | {
            "kcal_100g": 300,
            "protein_100g": None,
            "updated_at": response.json()["updated_at"],
        }
        assert parse_datetime(response.json()["updated_at"]) == product.updated_at > product.created_at
        assert (product.kcal_100g, product.protein_100g, product.revision) == (300, None, device.revision)
        assert api.get(f"/v1/products/{product.pk}").json() == response.json()

    def test_updates_the_key_with_the_name(self, api, device, method):
        product = ProductFactory(device=device, name="Rye")

        getattr(api, method)(f"/v1/products/{product.pk}", {"name": "Éclair"})

        assert names(api.get("/v1/products?search=eclair")) == ["Éclair"]
        assert names(api.get("/v1/products?search=rye")) == []

    @pytest.mark.parametrize("id_sent", [str(uuid4()), "a stored one", "rye", None, 7])
    def test_ignores_the_id_in_the_body(self, api, device, method, id_sent):
        product, bystander = ProductFactory(device=device, name="Rye"), ProductFactory(device=device, name="Bystander")
        id_sent = str(bystander.pk) if id_sent == "a stored one" else id_sent

        response = getattr(api, method)(f"/v1/products/{product.pk}", {"id": id_sent, "name": "Wheat"})

        assert response.status_code == 200
        assert (response.json()["id"], response.json()["name"]) == (str(product.pk), "Wheat")
        assert dict(Product.all_objects.for_device(device).values_list("pk", "name")) == {
            product.pk: "Wheat",
            bystander.pk: "Bystander",
        }

    @pytest.mark.parametrize(
        "sent",
        [
            {},
            {"name": "Rye"},
            {"name": "  Rye\n", "kcal_100g": 250.0},
            {"protein_100g": 10.501, "carbs_100g": 30.25, "fat_100g": None},
            {"barcode": f" {EAN} "},
            {"updated_at": "2001-01-01T00:00:00Z", "created_at": None, "deleted_at": "2001-01-01T00:00:00Z"},
            {"portions": [], "name_key": "zebra", "revision": 99, "device_id": ID, "colour": "brown"},
        ],
        ids=["nothing", "the name", "trimmed", "rounded", "the barcode", "read-only times", "unknown"],
    )
    def test_does_not_write_equal_values(self, api, device, all_rows, method, sent):
        product = ProductFactory(device=device, name="Rye", barcode=EAN)
        shown, before = api.get(f"/v1/products/{product.pk}").json(), all_rows()

        response = getattr(api, method)(f"/v1/products/{product.pk}", sent)

        assert response.status_code == 200
        assert response.json() == shown
        assert all_rows() == before

    def test_does_not_write_a_row_that_is_sent_back_unchanged(self, api, device, all_rows, method):
        product = ProductFactory(device=device, barcode=EAN)
        api.patch(f"/v1/products/{product.pk}", {"fat_100g": 0.1})
        shown, before = api.get(f"/v1/products/{product.pk}").json(), all_rows()

        response = getattr(api, method)(f"/v1/products/{product.pk}", shown)

        assert response.status_code == 200
        assert response.json() == shown
        assert all_rows() == before


class TestDeleteProduct:
    def test_hides_it_and_its_portions(self, api, device):
        product = ProductFactory(device=device)
        portion = PortionFactory(product=product)
        ProductFactory(device=device, name="Kept")

        response = api.delete(f"/v1/products/{product.pk}")

        device.refresh_from_db()
        assert (response.status_code, response.content) == (204, b"")
        assert api.get(f"/v1/products/{product.pk}").json() == NOT_FOUND
        assert api.get(f"/v1/products/{product.pk}/portions").json() == NOT_FOUND
        assert api.get(f"/v1/portions/{portion.pk}").json() == {"detail": "Portion not found"}
        assert names(api.get("/v1/products")) == ["Kept"]
        gone = [Product.all_objects.for_device(device).get(pk=product.pk)]
        gone += Portion.all_objects.for_device(device).filter(product=product)
        assert len(gone) == 3
        assert all(row.deleted_at and row.revision == device.revision for row in gone)

    def test_returns_404_the_second_time(self, api, device, all_rows):
        product = ProductFactory(device=device)
        api.delete(f"/v1/products/{product.pk}")
        before = all_rows()

        response = api.delete(f"/v1/products/{product.pk}")

        assert response.status_code == 404
        assert response.json() == NOT_FOUND
        assert all_rows() == before


class TestListProducts:
    def test_returns_an_array(self, api, device):
        assert api.get("/v1/products").json() == []

        product = ProductFactory(device=device)

        response = api.get("/v1/products")

        assert response.status_code == 200
        assert response.json() == [api.get(f"/v1/products/{product.pk}").json()]
        assert "Link" not in response

    def test_excludes_deleted_rows(self, api, device):
        ProductFactory(device=device, name="Kept")
        gone = ProductFactory(device=device, name="Gone")
        api.delete(f"/v1/products/{gone.pk}")

        response = api.get("/v1/products")

        assert names(response) == ["Kept"]

    def test_excludes_another_devices_rows(self, api, device, other_device):
        ProductFactory(device=device, name="Mine")
        ProductFactory(device=other_device, name="Theirs", barcode=EAN)

        assert names(api.get("/v1/products")) == ["Mine"]
        assert names(api.get("/v1/products?search=theirs")) == []
        assert names(api.get(f"/v1/products?barcode={EAN}")) == []

    def test_is_ordered_by_name_ignoring_case_and_accents(self, api, device):
        for name in ["Zebra", "Äpfel b", "apfel c", "APFEL A", "банан", "Ананас", "éclair", "Egg", "2 eggs"]:
            ProductFactory(device=device, name=name)

        response = api.get("/v1/products")

        assert names(response) == [
            "2 eggs",
            "APFEL A",
            "Äpfel b",
            "apfel c",
            "éclair",
            "Egg",
            "Zebra",
            "Ананас",
            "банан",
        ]

    def test_breaks_ties_by_id_even_without_an_index(self, api, device):
        with connection.cursor() as cursor:
            cursor.execute("DROP INDEX product_by_name")  # reading it would return the rows in order anyway
        ids = [f"{first}f1c2f6e-61a5-4a6a-9d55-0a3f0c5f8e10" for first in "a05f9"]
        for number, product_id in enumerate(ids):
            ProductFactory(id=product_id, device=device, name=["Éclair", "eclair", "ECLAIR"][number % 3])

        response = api.get("/v1/products")

        assert [product["id"] for product in response.json()] == sorted(ids)

    @pytest.mark.parametrize("count", [1, 5])
    def test_takes_three_queries_for_any_number_of_products(self, api, device, django_assert_num_queries, count):
        for _ in range(count):
            PortionFactory(product=ProductFactory(device=device))

        with django_assert_num_queries(3):  # the device of the token, the products, their portions
            response = api.get("/v1/products")

        assert [len(product["portions"]) for product in response.json()] == [2] * count

    def test_orders_the_portions_of_each(self, api, device):
        for name in ("Bread", "Apple"):
            product = ProductFactory(device=device, name=name)
            for portion in ("slice", "Éach", "Half"):
                PortionFactory(product=product, name=f"{portion} of {name}")

        response = api.get("/v1/products")

        assert [[portion["name"] for portion in product["portions"]] for product in response.json()] == [
            ["100g", "Éach of Apple", "Half of Apple", "slice of Apple"],
            ["100g", "Éach of Bread", "Half of Bread", "slice of Bread"],
        ]


class TestListPages:
    def test_never_repeat_or_skip_a_row(self, api, device):
        for number in range(7):
            ProductFactory(device=device, name=["Rye", "rye", "RYE", "Wheat"][number % 4])
        whole = [product["id"] for product in api.get("/v1/products").json()]

        address, pages = "/v1/products?limit=3", []
        while address:
            response = api.get(address)
            pages.append([product["id"] for product in response.json()])
            address = response.get("Link", "").partition(">")[0].removeprefix("<http://testserver")

        assert [len(page) for page in pages] == [3, 3, 1]
        assert [product_id for page in pages for product_id in page] == whole

    def test_link_to_the_next_page_with_the_same_query(self, api, device):
        for _ in range(4):
            ProductFactory(device=device, name="Rye & co")
        ProductFactory(device=device, name="Wheat")

        first = api.get("/v1/products", {"search": "rye &", "limit": 2})
        second = api.get(first["Link"].partition(">")[0].removeprefix("<"))

        assert first["Link"].endswith('; rel="next"')
        assert (names(first), names(second)) == (["Rye & co"] * 2, ["Rye & co"] * 2)
        assert first.json() != second.json()
        assert "Link" not in second

    def test_have_50_rows_by_default_and_200_at_most(self, api, device):
        with change_set(device):
            for _ in range(201):
                ProductFactory(device=device)

        assert len(api.get("/v1/products").json()) == 50
        assert len(api.get("/v1/products?limit=200").json()) == 200
        assert len(api.get("/v1/products?limit=200&offset=200").json()) == 1
        assert api.get("/v1/products?limit=1&offset=1000000").json() == []

    @pytest.mark.parametrize(
        ("query", "name", "msg", "kind"),
        [
            ("limit=0", "limit", "Ensure this value is greater than or equal to 1.", "min_value"),
            ("limit=201", "limit", "Ensure this value is less than or equal to 200.", "max_value"),
            ("limit=ten", "limit", "A valid integer is required.", "invalid"),
            ("limit=1.5", "limit", "A valid integer is required.", "invalid"),
            ("offset=-1", "offset", "Ensure this value is greater than or equal to 0.", "min_value"),
            ("offset=1000001", "offset", "Ensure this value is less than or equal to 1000000.", "max_value"),
            ("search=%00", "search", "Null characters are not allowed.", "null_characters_not_allowed"),
            ("barcode=123", "barcode", "A barcode has 8, 12, 13 or 14 digits.", "invalid"),
            ("barcode=4006381333932", "barcode", "The barcode's check digit is wrong.", "check_digit"),
        ],
    )
    def test_refuse_invalid_parameters(self, api, query, name, msg, kind):
        response = api.get(f"/v1/products?{query}")

        assert response.status_code == 422
        assert response.json() == validation_error_body((name, msg, kind))


class TestABarcode:
    def test_finds_its_product(self, api, device):
        ProductFactory(device=device, name="Rye", barcode=EAN)
        ProductFactory(device=device, name="Wheat", barcode=OTHER_EAN)
        ProductFactory(device=device, name="Loose")

        assert names(api.get(f"/v1/products?barcode={EAN}")) == ["Rye"]
        assert names(api.get("/v1/products?barcode=036000291452")) == []
        assert names(api.get(f"/v1/products?barcode={EAN}&search=ry")) == ["Rye"]
        assert names(api.get(f"/v1/products?barcode={EAN}&search=wheat")) == []

    def test_is_unique_among_the_live_products_of_a_device(self, api, device, all_rows):
        known = ProductFactory(device=device, barcode=EAN)
        before = all_rows()

        response = api.post("/v1/products", {"name": "Again", "kcal_100g": 1, "barcode": EAN})

        assert response.status_code == 409
        assert response.json() == conflict_body(BARCODE_TAKEN, known.pk)
        assert all_rows() == before

    @pytest.mark.parametrize("method", ["put", "patch"])
    def test_can_not_be_set_on_a_second_product(self, api, device, all_rows, method):
        known = ProductFactory(device=device, barcode=EAN)
        product = ProductFactory(device=device, barcode=OTHER_EAN)
        before = all_rows()

        response = getattr(api, method)(f"/v1/products/{product.pk}", {"name": "Other", "barcode": EAN})

        assert response.status_code == 409
        assert response.json() == conflict_body(BARCODE_TAKEN, known.pk)
        assert all_rows() == before

    def test_is_free_again_when_its_product_is_deleted(self, api, device):
        gone = ProductFactory(device=device, barcode=EAN)
        api.delete(f"/v1/products/{gone.pk}")

        response = api.post("/v1/products", {"name": "Again", "kcal_100g": 1, "barcode": EAN})

        assert response.status_code == 201
        assert [product["id"] for product in api.get(f"/v1/products?barcode={EAN}").json()] == [response.json()["id"]]

    @pytest.mark.parametrize("instead", [None, OTHER_EAN])
    def test_is_free_again_when_its_product_gets_another_one_or_none(self, api, device, instead):
        product = ProductFactory(device=device, barcode=EAN)
        api.patch(f"/v1/products/{product.pk}", {"barcode": instead})

        response = api.post("/v1/products", {"name": "Again", "kcal_100g": 1, "barcode": EAN})

        assert response.status_code == 201
        assert response.json()["barcode"] == EAN

    def test_can_be_used_by_another_device_too(self, api, other_device):
        ProductFactory(device=other_device, barcode=EAN)

        response = api.post("/v1/products", {"name": "Mine", "kcal_100g": 1, "barcode": EAN})

        assert response.status_code == 201
        assert response.json()["barcode"] == EAN

    def test_can_be_null_for_any_number_of_products(self, api, device):
        ProductFactory(device=device, barcode=None)

        response = api.post("/v1/products", {"name": "Loose", "kcal_100g": 1, "barcode": None})

        assert response.status_code == 201
        assert device.products.filter(barcode=None).count() == 2


class TestAnotherDevicesProduct:
    def test_is_not_found(self, api, other_device, all_rows):
        theirs = ProductFactory(device=other_device)
        before = all_rows()

        responses = [
            api.get(f"/v1/products/{theirs.pk}"),
            api.put(f"/v1/products/{theirs.pk}", {"name": "Mine", "kcal_100g": 1}),
            api.patch(f"/v1/products/{theirs.pk}", {"name": "Mine"}),
            api.delete(f"/v1/products/{theirs.pk}"),
        ]

        assert [(response.status_code, response.json()) for response in responses] == [(404, NOT_FOUND)] * 4
        assert all_rows() == before


class TestConditionalReads:
    @pytest.mark.parametrize(
        "path",
        [
            "products",
            "products?search=rye&limit=1",
            "products/{product}",
            "products/{product}/portions",
            "portions/{portion}",
        ],
    )
    def test_take_one_query_if_nothing_has_changed(self, api, device, django_assert_num_queries, path):
        product = ProductFactory(device=device, name="Rye")
        path = "/v1/" + path.format(product=product.pk, portion=product.portions.get().pk)
        first = api.get(path)

        with django_assert_num_queries(1):  # the device of the token
            second = api.get(path, headers={"If-None-Match": first["ETag"]})

        assert first["ETag"].startswith('W/"')
        assert first["Cache-Control"] == "private, no-cache"
        assert "Authorization" in first["Vary"]
        assert (second.status_code, second.content) == (304, b"")
        assert second["ETag"] == first["ETag"]

    @pytest.mark.parametrize("path", ["products", "products/{product}", "products/{product}/portions"])
    def test_return_the_new_state_after_a_change(self, api, device, path):
        product = ProductFactory(device=device)
        path = "/v1/" + path.format(product=product.pk)
        first = api.get(path)
        PortionFactory(product=product)

        second = api.get(path, headers={"If-None-Match": first["ETag"]})

        assert second.status_code == 200
        assert second["ETag"] != first["ETag"]
        assert second.json() != first.json()

    @pytest.mark.parametrize("path", ["products/{missing}", "products/{missing}/portions", "portions/{missing}"])
    def test_have_no_etag_for_a_missing_row(self, api, path):
        response = api.get("/v1/" + path.format(missing=uuid4()))

        assert response.status_code == 404
        assert "ETag" not in response
