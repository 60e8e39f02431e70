from django.db import migrations

from support.group import GROUP, grant

MAY = {
    ("devices", "device"): {
        "view_device": "Can view device",
        "block_device": "Can block and unblock device",
        "issue_token": "Can give device a new token",
    },
    ("products", "product"): {"view_product": "Can view product", "change_product": "Can change product"},
    ("products", "portion"): {"view_portion": "Can view portion", "change_portion": "Can change portion"},
    ("food_entries", "foodentry"): {
        "view_foodentry": "Can view food entry",
        "change_foodentry": "Can change food entry",
    },
}


def make_group(apps, schema_editor=None) -> None:
    for (app_label, model_name), names in MAY.items():
        grant(apps, app_label, model_name, names)


def remove_group(apps, schema_editor) -> None:
    apps.get_model("auth", "Group").objects.filter(name=GROUP).delete()


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
        ("devices", "0004_blocked_at"),
        ("food_entries", "0001_initial"),
        ("products", "0001_initial"),
    ]

    operations = [migrations.RunPython(make_group, remove_group)]
