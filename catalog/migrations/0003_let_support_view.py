from django.db import migrations

from support.group import let_support_view


class Migration(migrations.Migration):
    dependencies = [("catalog", "0002_bundles"), ("countonme", "0001_support_group")]

    operations = [let_support_view("catalog.CatalogFood", "catalog.CatalogRelease")]
