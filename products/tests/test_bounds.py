"""Which values each field accepts on create and on update. The values are raw JSON."""

import json
from uuid import UUID

import pytest

from products.models import Portion, Product
from products.tests.factories import PortionFactory, ProductFactory
from tests.harness.bounds import (
    BLANK,
    EMPTY_LIST,
    INVALID_UUIDS,
    NIL,
    NOT_A_BOOLEAN,
    NOT_A_NUMBER,
    NOT_A_STRING,
    NOT_A_UUID,
    NOT_OBJECTS,
    NULL,
    REQUIRED,
    error_above,
    error_below,
    send,
    table,
)
from tests.harness.errors import error_item, validation_error_body

NO_GTIN = ("A barcode has 8, 12, 13 or 14 digits.", "invalid")
WRONG_CHECK_DIGIT = ("The barcode's check digit is wrong.", "check_digit")
NUL = ("Null characters are not allowed.", "null_characters_not_allowed")
SURROGATE = ("Surrogate characters are not allowed: U+D83C.", "surrogate_characters_not_allowed")
INVISIBLE = ("This name has no visible character.", "invisible")
TOO_LONG = ("Ensure this field has no more than 100 characters.", "max_length")


FAMILY = "👨‍👩‍👧‍👦"

NAMES_REFUSED = [
    ("name", "null", [NULL]),
    ("name", "7", [NOT_A_STRING]),
    ("name", "7.5", [NOT_A_STRING]),
    ("name", "true", [NOT_A_STRING]),
    ("name", '["Rye"]', [NOT_A_STRING]),
    ("name", '{"en": "Rye"}', [NOT_A_STRING]),
    ("name", '""', [BLANK]),
    ("name", r'" \t\n\u00a0\u3000"', [BLANK]),
    ("name", json.dumps("x" * 101), [TOO_LONG]),
    ("name", json.dumps("🥐" * 101), [TOO_LONG]),
    ("name", r'"\u200b"', [INVISIBLE]),
    ("name", r'" \u200b \u3164\u2800\ufe0f "', [INVISIBLE]),
    ("name", r'"\u0007\udb40\udc41"', [INVISIBLE]),
    ("name", json.dumps("\u200b" * 101), [INVISIBLE, TOO_LONG]),
    ("name", r'"Rye\u0000"', [NUL]),
    ("name", r'"\u200b\u0000"', [NUL]),
    ("name", r'"Rye \ud83c"', [SURROGATE]),
]
NAMES_ACCEPTED = [
    ("name", '"R"', "R"),
    ("name", json.dumps("x" * 100), "x" * 100),
    ("name", json.dumps("🥐" * 100), "🥐" * 100),
    ("name", json.dumps("ß" * 100), "ß" * 100),
    ("name", json.dumps("ΐ" * 100), "ΐ" * 100),
    ("name", json.dumps("\u3000 " + "x" * 100 + " \n"), "x" * 100),
    ("name", r'" \t Rye  bread \n"', "Rye  bread"),
    ("name", r'"\ud83e\udd50"', "🥐"),
    ("name", json.dumps(FAMILY), FAMILY),
    ("name", r'"\u200bR\u200b"', "\u200bR\u200b"),
    ("name", json.dumps("\U0001fae9"), "\U0001fae9"),  # an emoji of 2024
    ("name", '"Сырники со сметаной"', "Сырники со сметаной"),
    ("name", '"שקשוקה"', "שקשוקה"),
    ("name", '"فول مدمس"', "فول مدمس"),
    ("name", '"ต้มยำกุ้ง"', "ต้มยำกุ้ง"),
    ("name", '"आलू पराठा"', "आलू पराठा"),
    ("name", '"김치찌개"', "김치찌개"),
    ("name", '"麻婆豆腐"', "麻婆豆腐"),
    ("name", '"𠮷野家"', "𠮷野家"),
    ("name", r'"e\u0301clair"', "e\u0301clair"),
    ("name", r'"\u0301"', "\u0301"),
    ("name", json.dumps("'; DROP TABLE products; --"), "'; DROP TABLE products; --"),
    ("name", '"<b>Rye</b> & {{ 7 * 7 }} %s"', "<b>Rye</b> & {{ 7 * 7 }} %s"),
]

NUTRIENTS = (
    *("protein_100g", "carbs_100g", "fat_100g"),
    *("sugars_100g", "saturated_fat_100g", "fiber_100g", "salt_100g"),
)
NO_UNIT = ("Must be one of: g, ml.", "invalid_choice")
PRODUCT_REFUSED = [
    *NAMES_REFUSED,
    *[("brand", value, errors) for _, value, errors in NAMES_REFUSED if value != "null"],
    ("unit", "null", [NULL]),
    *[("unit", value, [NO_UNIT]) for value in ('"kg"', '"G"', '" g"', '"oz"', "1", "true", '["g"]', r'"g\u0000"')],
    ("unit", '""', [NO_UNIT]),
    ("is_favorite", "null", [NULL]),
    *[("is_favorite", value, [NOT_A_BOOLEAN]) for value in ("1", "0", '"true"', "[true]", "{}")],
    ("catalog_food_id", f'"{UUID(int=0)}"', [NIL]),
    *[("catalog_food_id", value, [NOT_A_UUID]) for value in INVALID_UUIDS],
    ("kcal_100g", "null", [NULL]),
    ("kcal_100g", '"250"', [NOT_A_NUMBER]),
    ("kcal_100g", "true", [NOT_A_NUMBER]),
    ("kcal_100g", "[250]", [NOT_A_NUMBER]),
    ("kcal_100g", "{}", [NOT_A_NUMBER]),
    ("kcal_100g", "1e400", [NOT_A_NUMBER]),
    ("kcal_100g", "-1e400", [NOT_A_NUMBER]),
    ("kcal_100g", "1" + "0" * 5000, [NOT_A_NUMBER]),
    ("kcal_100g", "1" + "0" * 4000, [error_above(1000)]),
    ("kcal_100g", "1e300", [error_above(1000)]),
    ("kcal_100g", "-1e300", [error_below(0)]),
    ("kcal_100g", "-1", [error_below(0)]),
    ("kcal_100g", "-0.5", [error_below(0)]),
    ("kcal_100g", "1000.5", [error_above(1000)]),
    ("kcal_100g", "1001", [error_above(1000)]),
    ("kcal_100g", "9223372036854775808", [error_above(1000)]),
    *[
        (nutrient, value, errors)
        for nutrient in NUTRIENTS
        for value, errors in [
            ('"10.5"', [NOT_A_NUMBER]),
            ('""', [NOT_A_NUMBER]),
            ("false", [NOT_A_NUMBER]),
            ("[1]", [NOT_A_NUMBER]),
            ("{}", [NOT_A_NUMBER]),
            ("1e400", [NOT_A_NUMBER]),
            ("-1", [error_below(0)]),
            ("-0.005", [error_below(0)]),
            ("100.005", [error_above(100)]),
            ("100.01", [error_above(100)]),
            ("1e30", [error_above(100)]),
            ("1" + "0" * 4000, [error_above(100)]),
        ]
    ],
    ("barcode", "4006381333931", [NOT_A_STRING]),
    ("barcode", "true", [NOT_A_STRING]),
    ("barcode", '["4006381333931"]', [NOT_A_STRING]),
    ("barcode", '""', [BLANK]),
    ("barcode", '"  "', [BLANK]),
    ("barcode", '"4006381333932"', [WRONG_CHECK_DIGIT]),
    ("barcode", '"96385075"', [WRONG_CHECK_DIGIT]),
    ("barcode", '"036000291453"', [WRONG_CHECK_DIGIT]),
    ("barcode", '"00012345600013"', [WRONG_CHECK_DIGIT]),
    *[("barcode", f'"{"0" * length}"', [NO_GTIN]) for length in (1, 7, 9, 10, 11)],
    ("barcode", f'"{"0" * 15}"', [NO_GTIN, ("Ensure this field has no more than 14 characters.", "max_length")]),
    ("barcode", '"400638133393X"', [NO_GTIN]),
    ("barcode", '"4006381 333931"', [NO_GTIN]),
    ("barcode", '"٤٠٠٦٣٨١٣٣٣٩٣١"', [NO_GTIN]),
    ("barcode", r'"9638\u00005074"', [NO_GTIN, NUL]),
    ("barcode", r'"9638507\ud83c"', [NO_GTIN, SURROGATE]),
]
PRODUCT_ACCEPTED = [
    *NAMES_ACCEPTED,
    ("brand", "null", None),
    *[("brand", value, stored) for _, value, stored in NAMES_ACCEPTED],
    ("unit", '"g"', "g"),
    ("unit", '"ml"', "ml"),
    ("is_favorite", "true", True),
    ("is_favorite", "false", False),
    ("catalog_food_id", "null", None),
    ("catalog_food_id", '"7F1C2F6E-61A5-5A6A-9D55-0A3F0C5F8E10"', "7f1c2f6e-61a5-5a6a-9d55-0a3f0c5f8e10"),
    ("kcal_100g", "0", 0),
    ("kcal_100g", "1000", 1000),
    ("kcal_100g", "250.0", 250),
    ("kcal_100g", "-0.0", 0),
    ("kcal_100g", "1e3", 1000),
    ("kcal_100g", "61.5", 62),
    ("kcal_100g", "62.5", 63),
    ("kcal_100g", "61.49999", 61),
    ("kcal_100g", "-0.4", 0),
    ("kcal_100g", "0.4", 0),
    ("kcal_100g", "1e-400", 0),
    ("kcal_100g", "1000.4", 1000),
    *[
        (nutrient, value, stored)
        for nutrient in NUTRIENTS
        for value, stored in [
            ("null", None),
            ("0", 0.0),
            ("7", 7.0),
            ("100", 100.0),
            ("0.30000000000000004", 0.3),
            ("0.004", 0.0),
            ("0.005", 0.01),
            ("0.015", 0.02),
            ("1.005", 1.01),
            ("-0.001", 0.0),
            ("1e-400", 0.0),
            ("99.994", 99.99),
            ("99.995", 100.0),
            ("100.004", 100.0),
            ("100.0049999999", 100.0),
        ]
    ],
    ("barcode", "null", None),
    ("barcode", '"96385074"', "96385074"),
    ("barcode", '"036000291452"', "036000291452"),
    ("barcode", '"4006381333931"', "4006381333931"),
    ("barcode", '"00012345600012"', "00012345600012"),
    ("barcode", r'" 4006381333931\n"', "4006381333931"),
]

PORTION_REFUSED = [
    *NAMES_REFUSED,
    ("grams", "null", [NULL]),
    ("grams", '"40"', [NOT_A_NUMBER]),
    ("grams", "true", [NOT_A_NUMBER]),
    ("grams", "[40]", [NOT_A_NUMBER]),
    ("grams", "{}", [NOT_A_NUMBER]),
    ("grams", "1e400", [NOT_A_NUMBER]),
    ("grams", "0", [error_below("0.01")]),
    ("grams", "0.004", [error_below("0.01")]),
    ("grams", "-0.001", [error_below("0.01")]),
    ("grams", "-40", [error_below("0.01")]),
    ("grams", "10000.005", [error_above(10000)]),
    ("grams", "10001", [error_above(10000)]),
    ("grams", "1e30", [error_above(10000)]),
    ("grams", "1" + "0" * 4000, [error_above(10000)]),
    ("is_default", "null", [NULL]),
    ("is_default", "1", [NOT_A_BOOLEAN]),
    ("is_default", "0", [NOT_A_BOOLEAN]),
    ("is_default", '"true"', [NOT_A_BOOLEAN]),
    ("is_default", "[true]", [NOT_A_BOOLEAN]),
    ("is_default", "{}", [NOT_A_BOOLEAN]),
]
PORTION_ACCEPTED = [
    *NAMES_ACCEPTED,
    ("grams", "0.005", 0.01),
    ("grams", "0.01", 0.01),
    ("grams", "0.30000000000000004", 0.3),
    ("grams", "35.125", 35.13),
    ("grams", "9999.995", 10000.0),
    ("grams", "10000", 10000.0),
    ("grams", "10000.004", 10000.0),
    ("is_default", "true", True),
    ("is_default", "false", False),
]

IDS_REFUSED = [
    ("id", "null", [NULL]),
    ("id", f'"{UUID(int=0)}"', [NIL]),
    *[("id", value, [NOT_A_UUID]) for value in INVALID_UUIDS],
]

PRODUCT = {"name": '"Rye"', "kcal_100g": "250"}
PORTION = {"name": '"Slice"', "grams": "40"}


def is_the_same(value, expected) -> bool:
    """Compare as JSON. In Python, `1`, `1.0` and `True` are equal, and so are `0.0` and `-0.0`."""
    return json.dumps(value) == json.dumps(expected)


class TestCreateProduct:
    @table(PRODUCT_REFUSED + IDS_REFUSED)
    def test_refuses(self, api, all_rows, field, value, expected):
        before = all_rows()

        response = send(api, "POST", "/v1/products", PRODUCT | {field: value})

        assert response.status_code == 422
        assert response.json() == validation_error_body(*[(field, *error) for error in expected])
        assert all_rows() == before

    @table(PRODUCT_ACCEPTED)
    def test_accepts(self, api, device, field, value, expected):
        response = send(api, "POST", "/v1/products", PRODUCT | {field: value})

        assert response.status_code == 201
        assert is_the_same(response.json()[field], expected)
        assert api.get(f"/v1/products/{device.products.get().pk}").json() == response.json()

    @pytest.mark.parametrize("missing", PRODUCT)
    def test_requires(self, api, all_rows, missing):
        before = all_rows()

        response = send(api, "POST", "/v1/products", {k: v for k, v in PRODUCT.items() if k != missing})

        assert response.status_code == 422
        assert response.json() == validation_error_body((missing, *REQUIRED))
        assert all_rows() == before

    @pytest.mark.parametrize(("body", "error"), [*NOT_OBJECTS, EMPTY_LIST])
    def test_refuses_a_body_that_is_not_an_object(self, api, all_rows, body, error):
        before = all_rows()

        response = send(api, "POST", "/v1/products", body)

        assert response.status_code == 422
        assert response.json() == validation_error_body(error)
        assert all_rows() == before

    def test_lists_all_errors(self, api, all_rows):
        before = all_rows()

        response = api.post("/v1/products", {"name": " ", "kcal_100g": 1001, "fat_100g": -1, "barcode": "1"})

        assert response.status_code == 422
        assert response.json()["errors"] == [
            error_item(field, *error)
            for field, error in [
                ("name", BLANK),
                ("kcal_100g", error_above(1000)),
                ("fat_100g", error_below(0)),
                ("barcode", NO_GTIN),
            ]
        ]
        assert all_rows() == before

    def test_does_not_validate_the_sum_of_the_macronutrients(self, api):
        response = api.post(
            "/v1/products", {"name": "Label", "kcal_100g": 900, "protein_100g": 100, "carbs_100g": 100, "fat_100g": 100}
        )

        assert response.status_code == 201


class TestUpdateProduct:
    @table(PRODUCT_REFUSED)
    def test_refuses(self, api, device, all_rows, field, value, expected):
        product = ProductFactory(device=device)
        before = all_rows()

        response = send(api, "PATCH", f"/v1/products/{product.pk}", {"name": '"Other"'} | {field: value})

        assert response.status_code == 422
        assert response.json() == validation_error_body(*[(field, *error) for error in expected])
        assert all_rows() == before

    @table(PRODUCT_ACCEPTED)
    def test_accepts(self, api, device, field, value, expected):
        product = ProductFactory(device=device)

        response = send(api, "PATCH", f"/v1/products/{product.pk}", {field: value})

        assert response.status_code == 200
        assert is_the_same(response.json()[field], expected)
        assert api.get(f"/v1/products/{product.pk}").json() == response.json()

    @pytest.mark.parametrize(("body", "error"), [*NOT_OBJECTS, EMPTY_LIST])
    def test_refuses_a_body_that_is_not_an_object(self, api, device, all_rows, body, error):
        product = ProductFactory(device=device)
        before = all_rows()

        response = send(api, "PATCH", f"/v1/products/{product.pk}", body)

        assert response.status_code == 422
        assert response.json()["errors"] == [error_item(*error)]
        assert all_rows() == before


class TestCreatePortion:
    @table(PORTION_REFUSED + IDS_REFUSED)
    def test_refuses(self, api, device, all_rows, field, value, expected):
        product = ProductFactory(device=device)
        before = all_rows()

        response = send(api, "POST", f"/v1/products/{product.pk}/portions", PORTION | {field: value})

        assert response.status_code == 422
        assert response.json() == validation_error_body(*[(field, *error) for error in expected])
        assert all_rows() == before

    @table(PORTION_ACCEPTED)
    def test_accepts(self, api, device, field, value, expected):
        product = ProductFactory(device=device)

        response = send(api, "POST", f"/v1/products/{product.pk}/portions", PORTION | {field: value})

        assert response.status_code == 201
        assert is_the_same(response.json()[field], expected)
        assert api.get(f"/v1/portions/{response.json()['id']}").json() == response.json()

    @pytest.mark.parametrize("missing", PORTION)
    def test_requires(self, api, device, all_rows, missing):
        product = ProductFactory(device=device)
        before = all_rows()

        response = send(
            api, "POST", f"/v1/products/{product.pk}/portions", {k: v for k, v in PORTION.items() if k != missing}
        )

        assert response.status_code == 422
        assert response.json() == validation_error_body((missing, *REQUIRED))
        assert all_rows() == before

    @pytest.mark.parametrize(("body", "error"), [*NOT_OBJECTS, EMPTY_LIST])
    def test_refuses_a_body_that_is_not_an_object(self, api, device, all_rows, body, error):
        product = ProductFactory(device=device)
        before = all_rows()

        response = send(api, "POST", f"/v1/products/{product.pk}/portions", body)

        assert response.status_code == 422
        assert response.json()["errors"] == [error_item(*error)]
        assert all_rows() == before


class TestUpdatePortion:
    @table(PORTION_REFUSED)
    def test_refuses(self, api, device, all_rows, field, value, expected):
        portion = PortionFactory(product=ProductFactory(device=device))
        before = all_rows()

        response = send(api, "PATCH", f"/v1/portions/{portion.pk}", {"name": '"Other"'} | {field: value})

        assert response.status_code == 422
        assert response.json() == validation_error_body(*[(field, *error) for error in expected])
        assert all_rows() == before

    @table(PORTION_ACCEPTED)
    def test_accepts(self, api, device, field, value, expected):
        portion = PortionFactory(product=ProductFactory(device=device))

        response = send(api, "PATCH", f"/v1/portions/{portion.pk}", {field: value})

        assert response.status_code == 200
        assert is_the_same(response.json()[field], expected)
        assert api.get(f"/v1/portions/{portion.pk}").json() == response.json()


class TestStoredAmounts:
    """The database stores exactly two decimal places."""

    def test_are_rounded_decimals(self, api, device):
        product = api.post("/v1/products", {"name": "Rye", "kcal_100g": 1, "fat_100g": 0.30000000000000004}).json()
        portion = api.post(f"/v1/products/{product['id']}/portions", {"name": "Slice", "grams": 1.005}).json()

        assert str(Product.objects.for_device(device).get(pk=product["id"]).fat_100g) == "0.30"
        assert str(Portion.objects.for_device(device).get(pk=portion["id"]).grams) == "1.01"


class TestANameFromBeforeTheRule:
    """Invisible names could be stored before they were refused."""

    @pytest.fixture
    def old(self, device):
        return ProductFactory(device=device, name="\u200b", kcal_100g=1)

    def test_is_read(self, api, old):
        assert [row["name"] for row in api.get("/v1/products").json()] == ["\u200b"]

    def test_may_be_sent_again_with_other_fields(self, api, old):
        response = api.put(f"/v1/products/{old.pk}", {"name": "\u200b", "kcal_100g": 250})

        assert response.status_code == 200
        assert (response.json()["name"], response.json()["kcal_100g"]) == ("\u200b", 250)

    def test_can_not_be_replaced_by_another_invisible_one(self, api, old):
        response = api.patch(f"/v1/products/{old.pk}", {"name": "\u200c"})

        assert response.status_code == 422
        assert response.json() == validation_error_body(("name", *INVISIBLE))

    def test_does_not_let_other_invalid_values_pass(self, api, old):
        response = api.patch(f"/v1/products/{old.pk}", {"name": "\u200b", "kcal_100g": True})

        assert response.status_code == 422
        assert response.json() == validation_error_body(("kcal_100g", *NOT_A_NUMBER))
