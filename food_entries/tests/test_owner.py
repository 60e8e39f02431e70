"""Foreign keys never connect rows of different devices, even if SQL bypasses the application."""

from decimal import Decimal

import pytest
from django.db import IntegrityError, connection, transaction

from food_entries.tests.factories import FoodEntryFactory
from products.tests.factories import PortionFactory, ProductFactory

pytestmark = pytest.mark.postgres

PORTION = """
INSERT INTO portions (id, device_id, product_id, revision, created_at, name, name_key, grams, is_default)
SELECT gen_random_uuid(), {device}, {product}, 2, now(), 'Slice', 'slice', 35.5, false"""
ENTRY = """
INSERT INTO food_entries (id, device_id, product_id, portion_id, revision, created_at, date, meal_type, product_name,
    grams, kcal_100g, kcal)
SELECT gen_random_uuid(), {device}, {product}, {portion}, 2, now(), '2026-01-05', 'lunch', 'Rye', 100, 259, 259"""

OF_PRODUCT = "of_a_product_of_the_same_device"
OF_PORTION = "of_a_portion_of_the_same_device"
MINE = {"device": "%(me)s", "product": "%(product)s", "portion": "%(portion)s"}
THEIRS = {"device": "%(other)s", "product": "%(their_product)s", "portion": "%(their_portion)s"}

REFERENCES = {
    "a new portion of their product": (PORTION.format(**MINE | {"product": THEIRS["product"]}), OF_PRODUCT),
    "a new portion of theirs of my product": (PORTION.format(**MINE | {"device": THEIRS["device"]}), OF_PRODUCT),
    "a new entry of their product": (ENTRY.format(**MINE | {"product": THEIRS["product"]}), OF_PRODUCT),
    "a new entry by their portion": (ENTRY.format(**MINE | {"portion": THEIRS["portion"]}), OF_PORTION),
    "a new entry of theirs of my product and portion": (ENTRY.format(**MINE | {"device": THEIRS["device"]}), "of_a"),
    "my portion to their product": (
        "UPDATE portions SET product_id = %(their_product)s WHERE id = %(slice)s",
        OF_PRODUCT,
    ),
    "my entry to their product": ("UPDATE food_entries SET product_id = %(their_product)s", OF_PRODUCT),
    "my entry to their portion": ("UPDATE food_entries SET portion_id = %(their_portion)s", OF_PORTION),
    "my entry to them": ("UPDATE food_entries SET device_id = %(other)s", "of_a"),
    "my portion to them": ("UPDATE portions SET device_id = %(other)s WHERE id = %(slice)s", OF_PRODUCT),
    "my portion, with entries by it, to them and their product": (
        "UPDATE portions SET device_id = %(other)s, product_id = %(their_product)s WHERE id = %(portion)s",
        OF_PORTION,
    ),
    "my product to them": ("UPDATE products SET device_id = %(other)s WHERE id = %(product)s", OF_PRODUCT),
    "my deleted product to them": (
        "UPDATE products SET device_id = %(other)s, deleted_at = now() WHERE id = %(product)s",
        OF_PRODUCT,
    ),
}


@pytest.fixture
def rows(device, other_device) -> dict:
    """Ids of my product, which has an entry and two portions, and of a product and a portion of the other device."""
    product, theirs = ProductFactory(device=device), ProductFactory(device=other_device)
    portion, other_portion = PortionFactory(product=product), PortionFactory(product=product)
    FoodEntryFactory(product=product, portion=portion, quantity=Decimal(1))
    return {
        "me": device.pk,
        "product": product.pk,
        "portion": portion.pk,
        "slice": other_portion.pk,
        "other": other_device.pk,
        "their_product": theirs.pk,
        "their_portion": other_device.portions.get().pk,
    }


class TestTheDatabase:
    @pytest.mark.parametrize(("sql", "constraint"), REFERENCES.values(), ids=REFERENCES.keys())
    def test_refuses_references_between_devices(self, rows, all_rows, sql, constraint):
        before = all_rows()

        with (
            pytest.raises(IntegrityError, match=f"violates foreign key constraint .*{constraint}"),
            transaction.atomic(),
            connection.cursor() as cursor,
        ):
            cursor.execute(sql, rows)

        assert all_rows() == before

    @pytest.mark.parametrize("sql", [PORTION.format(**MINE), ENTRY.format(**MINE), ENTRY.format(**THEIRS)])
    def test_accepts_references_within_one_device(self, rows, sql):
        """Proves that the statements above fail because of the reference, and not for another reason."""
        with connection.cursor() as cursor:
            cursor.execute(sql, rows)
            assert cursor.rowcount == 1

    def test_has_only_foreign_keys_that_include_the_device(self, db):
        """Without the device in the key, PostgreSQL searches the rows of all devices whenever a row is deleted."""
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT conname FROM pg_constraint WHERE contype = 'f'"
                " AND confrelid IN ('products'::regclass, 'portions'::regclass)"
            )
            assert {name for (name,) in cursor.fetchall()} == {
                f"portion_{OF_PRODUCT}",
                f"food_entry_{OF_PRODUCT}",
                f"food_entry_{OF_PORTION}",
            }
