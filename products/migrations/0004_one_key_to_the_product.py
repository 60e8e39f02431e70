from django.db import migrations

from countonme.db.migration_operations import PostgresSQL

FORWARDS = "ALTER TABLE portions DROP CONSTRAINT portions_product_id_6888b78c_fk_products_id"

BACKWARDS = """
ALTER TABLE portions ADD CONSTRAINT portions_product_id_6888b78c_fk_products_id
    FOREIGN KEY (product_id) REFERENCES products (id) DEFERRABLE INITIALLY DEFERRED
"""


class Migration(migrations.Migration):
    """The key of device and product says all that the one of the product alone says.

    For the latter, PostgreSQL looked through the portions of all devices whenever a product was removed for good.
    """

    dependencies = [("products", "0003_what_a_row_says_of_itself")]

    operations = [PostgresSQL(FORWARDS, BACKWARDS)]
