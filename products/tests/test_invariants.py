"""Constraints of the database, tested without serializers and forms."""

from decimal import Decimal

import pytest
from django.db import DataError, IntegrityError, connection, transaction

from ownership.models import change_set
from products.models import Portion, Product
from products.tests.factories import PortionFactory, ProductFactory
from tests.harness.errors import id_taken_body

UNIQUE_BARCODE = r"product_has_a_barcode_of_its_own|products\.device_id, products\.barcode"
UNIQUE_NUMBER = r"product_has_a_barcode_number_of_its_own|products\.device_id, products\.barcode_key"
ONE_DEFAULT = r"product_has_one_default_portion|UNIQUE constraint failed: portions\.product_id"

RIGHT_CHECK_DIGITS = ("96385074", "012345678905", "4006381333931", "14006381333938")
WRONG_CHECK_DIGITS = [
    barcode[:-1] + digit for barcode in RIGHT_CHECK_DIGITS for digit in "0123456789" if digit != barcode[-1]
]

NUTRIENTS = (
    *("protein_100g", "carbs_100g", "fat_100g"),
    *("sugars_100g", "saturated_fat_100g", "fiber_100g", "salt_100g"),
)

OUT_OF_BOUNDS = [
    *[
        (model, *broken)
        for model, of in ((Product, "product"), (Portion, "portion"))
        for broken in (
            ("name", "", f"{of}_name__length_within_bounds"),
            ("name", "x" * 101, rf"{of}_name__length_within_bounds|too long for type character varying\(100\)"),
            ("revision", 1, f"{of}_revision_from_2"),
        )
    ],
    (Product, "kcal_100g", -1, "product_kcal_100g_within_bounds"),
    (Product, "kcal_100g", 1001, "product_kcal_100g_within_bounds"),
    *[
        (Product, nutrient, Decimal(value), f"product_{nutrient}_within_bounds")
        for nutrient in NUTRIENTS
        for value in ("-0.01", "100.01")
    ],
    (Product, "brand", "", "product_brand__length_within_bounds"),
    (Product, "brand", "x" * 101, r"product_brand__length_within_bounds|too long for type character varying\(100\)"),
    (Product, "unit", "kg", "product_unit_is_known"),
    (Product, "unit", "", "product_unit_is_known"),
    (Product, "barcode", "", "product_barcode_is_a_gtin_or_upc_e"),
    *[(Product, "barcode", "0" * length, "product_barcode_is_a_gtin_or_upc_e") for length in (7, 9, 10, 11)],
    *[
        (Product, "barcode", barcode, "product_barcode_is_a_gtin_or_upc_e")
        for barcode in (
            *WRONG_CHECK_DIGITS,
            "04252615",
            "14252614",
            "24252618",
            "9638507x",
            "-9638507",
            " 6385074",
            "٩٦٣٨٥٠٧٤",
        )
    ],
    (Portion, "grams", Decimal(0), "portion_grams_within_bounds"),
    (Portion, "grams", Decimal("-0.01"), "portion_grams_within_bounds"),
    (Portion, "grams", Decimal("10000.01"), "portion_grams_within_bounds"),
]
NOT_NULL = [
    *[(Product, field) for field in ("name", "name_key", "kcal_100g", "unit", "is_favorite")],
    *[(Product, field) for field in ("revision", "created_at", "device")],
    *[
        (Portion, field)
        for field in ("name", "name_key", "grams", "is_default", "product", "revision", "created_at", "device")
    ],
]


def labels(rows):
    return [f"{row[0].__name__}.{row[1]}={row[2] if len(row) > 2 else None}" for row in rows]


class TestTheDatabase:
    @pytest.mark.parametrize(("model", "field", "value", "constraint"), OUT_OF_BOUNDS, ids=labels(OUT_OF_BOUNDS))
    def test_refuses_a_value_out_of_bounds(self, device, all_rows, model, field, value, constraint):
        PortionFactory(product=ProductFactory(device=device))
        before = all_rows()

        with pytest.raises((IntegrityError, DataError), match=constraint), transaction.atomic(), change_set(device):
            model.objects.for_device(device).update(**{field: value})

        assert all_rows() == before

    @pytest.mark.parametrize(("model", "field"), NOT_NULL, ids=labels(NOT_NULL))
    def test_refuses_null(self, device, all_rows, model, field):
        PortionFactory(product=ProductFactory(device=device))
        before = all_rows()

        with pytest.raises(IntegrityError, match=r"(?i)not.null"), transaction.atomic(), change_set(device):
            model.objects.for_device(device).update(**{field: None})

        assert all_rows() == before

    def test_refuses_a_barcode_on_two_live_products_of_a_device(self, device, all_rows):
        ProductFactory(device=device, barcode="96385074"), ProductFactory(device=device)
        before = all_rows()

        with pytest.raises(IntegrityError, match=UNIQUE_BARCODE), transaction.atomic(), change_set(device):
            device.products.filter(barcode=None).update(barcode="96385074")

        assert all_rows() == before

    def test_refuses_a_barcode_number_on_two_live_products_of_a_device(self, device, all_rows):
        ProductFactory(device=device, barcode="96385074"), ProductFactory(device=device)
        before = all_rows()

        with pytest.raises(IntegrityError, match=UNIQUE_NUMBER), transaction.atomic(), change_set(device):
            device.products.filter(barcode=None).update(barcode="0000096385074", barcode_key=96385074)

        assert all_rows() == before

    def test_refuses_to_restore_a_product_whose_barcode_is_taken(self, device, all_rows):
        gone = ProductFactory(device=device, barcode="96385074")
        with change_set(device):
            gone.soft_delete()
        ProductFactory(device=device, barcode="96385074")
        before = all_rows()

        with (
            pytest.raises(IntegrityError, match=f"{UNIQUE_BARCODE}|{UNIQUE_NUMBER}"),
            transaction.atomic(),
            change_set(device),
        ):
            Product.all_objects.for_device(device).update(deleted_at=None)

        assert all_rows() == before

    def test_refuses_two_default_portions_of_a_live_product(self, device, all_rows):
        PortionFactory(product=ProductFactory(device=device))
        before = all_rows()

        with pytest.raises(IntegrityError, match=ONE_DEFAULT), transaction.atomic(), change_set(device):
            device.portions.update(is_default=True)

        assert all_rows() == before

    @pytest.mark.parametrize("factory", [ProductFactory, PortionFactory])
    def test_refuses_a_duplicate_id(self, device, all_rows, factory):
        kwargs = {"device": device} if factory is ProductFactory else {"product": ProductFactory(device=device)}
        row = factory(**kwargs)
        before = all_rows()

        with pytest.raises(IntegrityError, match=r"_pkey|UNIQUE constraint failed: \w+\.id"), transaction.atomic():
            factory(id=row.pk, **kwargs)

        assert all_rows() == before

    @pytest.mark.parametrize("factory", [ProductFactory, PortionFactory])
    def test_refuses_the_id_of_another_devices_row(self, device, other_device, factory):
        theirs, mine = ProductFactory(device=other_device), ProductFactory(device=device)
        of_product = {} if factory is ProductFactory else {"product": theirs}
        taken = factory(device=other_device, **of_product)

        of_product = {} if factory is ProductFactory else {"product": mine}
        with pytest.raises(IntegrityError), transaction.atomic():
            factory(id=taken.pk, device=device, **of_product)

        taken.refresh_from_db()
        assert taken.device_id == other_device.pk

    def test_accepts_the_bounds_themselves(self, device):
        portion = PortionFactory(product=ProductFactory(device=device))

        with change_set(device):
            device.products.update(name="x", kcal_100g=0, protein_100g=0, carbs_100g=100, fat_100g=None, barcode=None)
            for barcode in RIGHT_CHECK_DIGITS:
                device.products.update(name="ß" * 100, kcal_100g=1000, barcode=barcode)
            device.portions.filter(pk=portion.pk).update(grams=Decimal("0.01"))
            device.portions.exclude(pk=portion.pk).update(grams=Decimal(10_000))

        assert sorted(device.portions.values_list("grams", flat=True)) == [Decimal("0.01"), Decimal(10_000)]


class TestAnIdThatIsTaken:
    @pytest.mark.postgres
    @pytest.mark.parametrize("table", ["products", "portions"])
    def test_returns_409_whichever_index_reports_it(self, api, device, all_rows, table):
        """PostgreSQL checks the oldest index first. After a restore or a rebuild, it can be another one."""
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER TABLE {table} DROP CONSTRAINT {table}_pkey CASCADE")
            cursor.execute(f"ALTER TABLE {table} ADD CONSTRAINT {table}_pkey PRIMARY KEY (id)")
        product = ProductFactory(device=device)
        gone = ProductFactory(device=device) if table == "products" else PortionFactory(product=product)
        path = "/v1/products" if table == "products" else f"/v1/products/{product.pk}/portions"
        api.delete(f"/v1/{table}/{gone.pk}")
        before = all_rows()

        response = api.post(path, {"id": str(gone.pk), "name": "Again", "kcal_100g": 1, "grams": 1})

        assert response.status_code == 409
        assert response.json() == id_taken_body(gone.pk)
        assert all_rows() == before


class TestEveryConstraint:
    def test_has_a_test(self):
        """Fails for a new constraint until the table above has a row that breaks it."""
        broken = {constraint.partition("|")[0] for *_, constraint in OUT_OF_BOUNDS}
        broken |= {"product_has_a_barcode_of_its_own", "product_has_a_barcode_number_of_its_own"}
        broken |= {"product_has_one_default_portion"}

        assert {rule.name for model in (Product, Portion) for rule in model._meta.constraints} == broken


class TestNameKeys:
    @pytest.mark.parametrize("factory", [ProductFactory, PortionFactory])
    def test_are_updated_with_the_name(self, device, factory):
        kwargs = {"device": device} if factory is ProductFactory else {"product": ProductFactory(device=device)}
        row = factory(name="Éclair", **kwargs)
        assert row.name_key == "eclair"

        with change_set(device):
            row.change(name="Straße")

        row.refresh_from_db()
        assert row.name_key == "strasse"

    def test_can_be_longer_than_any_name(self, device):
        """A character of a name can become several in its key."""
        product = ProductFactory(device=device, name="ΐﬃ" * 50)

        product.refresh_from_db()
        assert product.name_key == "ιffi" * 50
