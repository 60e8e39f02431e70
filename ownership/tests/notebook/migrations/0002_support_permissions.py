from django.db import migrations

from support.group import let_support_correct


class Migration(migrations.Migration):
    dependencies = [("countonme", "0001_support_group"), ("notebook", "0001_initial")]

    operations = [let_support_correct("notebook.Note", "notebook.Line")]
