from django.db import migrations

from countonme.db.migration_operations import PostgresSQL

FORWARDS = """
ALTER TABLE products ADD CONSTRAINT product_is_of_its_device UNIQUE (device_id, id);
ALTER TABLE portions ADD CONSTRAINT portion_is_of_its_device UNIQUE (device_id, id);
ALTER TABLE portions ADD CONSTRAINT portion_of_a_product_of_the_same_device
    FOREIGN KEY (device_id, product_id) REFERENCES products (device_id, id);
"""

BACKWARDS = """
ALTER TABLE portions DROP CONSTRAINT portion_of_a_product_of_the_same_device;
ALTER TABLE portions DROP CONSTRAINT portion_is_of_its_device;
ALTER TABLE products DROP CONSTRAINT product_is_of_its_device;
"""


class Migration(migrations.Migration):
    """No bug in Python can tie one device's portion to another's product."""

    dependencies = [("products", "0001_initial")]

    operations = [PostgresSQL(FORWARDS, BACKWARDS)]
