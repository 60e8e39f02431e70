from django.db import migrations, models

from countonme.db.migration_operations import AddIndexConcurrently


class Migration(migrations.Migration):
    """Superusers search the audit log by the name of a member of staff."""

    atomic = False

    dependencies = [("support", "0003_changed_values")]

    operations = [
        AddIndexConcurrently("auditentry", models.Index(fields=["user_name", "id"], name="audit_log_of_a_user")),
    ]
