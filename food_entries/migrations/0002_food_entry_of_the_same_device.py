from django.db import migrations

from countonme.db.migration_operations import PostgresSQL

FORWARDS = """
ALTER TABLE food_entries ADD CONSTRAINT food_entry_of_a_product_of_the_same_device
    FOREIGN KEY (device_id, product_id) REFERENCES products (device_id, id);
ALTER TABLE food_entries ADD CONSTRAINT food_entry_of_a_portion_of_the_same_device
    FOREIGN KEY (device_id, portion_id) REFERENCES portions (device_id, id);
"""

BACKWARDS = """
ALTER TABLE food_entries DROP CONSTRAINT food_entry_of_a_portion_of_the_same_device;
ALTER TABLE food_entries DROP CONSTRAINT food_entry_of_a_product_of_the_same_device;
"""


class Migration(migrations.Migration):
    """No bug in Python can tie one device's entry to another's product or portion."""

    dependencies = [("food_entries", "0001_initial"), ("products", "0002_portion_of_the_same_device")]

    operations = [PostgresSQL(FORWARDS, BACKWARDS)]
