import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("support", "0002_move_log_entries")]

    operations = [
        migrations.CreateModel(
            name="ChangedValues",
            fields=[
                (
                    "entry",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="changed",
                        serialize=False,
                        to="support.auditentry",
                    ),
                ),
                ("at", models.DateTimeField(db_index=True, default=django.utils.timezone.now)),
                ("values", models.JSONField(help_text="The label, the old text and the new text of each field.")),
            ],
            options={"db_table": "audit_log_values", "default_permissions": ()},
        ),
    ]
