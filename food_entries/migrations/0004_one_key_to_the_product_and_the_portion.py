from django.db import migrations

from countonme.db.migration_operations import PostgresSQL

FORWARDS = """
ALTER TABLE food_entries DROP CONSTRAINT food_entries_product_id_cbc6fb84_fk_products_id;
ALTER TABLE food_entries DROP CONSTRAINT food_entries_portion_id_cbf2f4ca_fk_portions_id;
"""

BACKWARDS = """
ALTER TABLE food_entries ADD CONSTRAINT food_entries_product_id_cbc6fb84_fk_products_id
    FOREIGN KEY (product_id) REFERENCES products (id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE food_entries ADD CONSTRAINT food_entries_portion_id_cbf2f4ca_fk_portions_id
    FOREIGN KEY (portion_id) REFERENCES portions (id) DEFERRABLE INITIALLY DEFERRED;
"""


class Migration(migrations.Migration):
    """The keys that begin with the device say all that the others say.

    For the others, PostgreSQL looked through the entries of all devices whenever a product or a portion was removed for
    good, and looked up both twice whenever an entry was stored.
    """

    dependencies = [
        ("food_entries", "0003_what_a_row_says_of_itself"),
        ("products", "0004_one_key_to_the_product"),
    ]

    operations = [PostgresSQL(FORWARDS, BACKWARDS)]
