"""The Support group, and the permissions that migrations grant to it."""

from django.apps.registry import Apps
from django.db.migrations import RunPython
from django.db.models import Model

GROUP = "Support"
ACTIONS = ("view", "change")  # permissions of support on owned rows


def permission_names(model: type[Model], actions: tuple[str, ...] = ACTIONS) -> dict[str, str]:
    """Return Django's names of the permissions to do these things with rows of this model, by codename."""
    meta = model._meta
    return {f"{action}_{meta.model_name}": f"Can {action} {meta.verbose_name_raw}" for action in actions}


def grant(apps: Apps, app_label: str, model_name: str, names: dict[str, str]) -> None:
    """Grant permissions to the group. Create the group and the permissions if they are missing.

    Django creates permissions only after the last migration. It keeps existing ones.
    """
    Group = apps.get_model("auth", "Group")
    ContentType = apps.get_model("contenttypes", "ContentType")
    Permission = apps.get_model("auth", "Permission")
    group, _ = Group.objects.get_or_create(name=GROUP)
    content_type, _ = ContentType.objects.get_or_create(app_label=app_label, model=model_name)
    for codename, name in names.items():
        permission, _ = Permission.objects.get_or_create(
            content_type=content_type, codename=codename, defaults={"name": name}
        )
        group.permissions.add(permission)


def let_support_correct(*labels: str) -> RunPython:
    """Return a migration operation that lets support view and correct rows of models such as `"products.Product"`.

    The migration must depend on `("countonme", "0001_support_group")`.
    """
    return let_support(ACTIONS, labels)


def let_support_view(*labels: str) -> RunPython:
    """Return a migration operation that lets support view rows, but not correct them."""
    return let_support(("view",), labels)


def let_support(actions: tuple[str, ...], labels: tuple[str, ...]) -> RunPython:
    def forwards(apps: Apps, schema_editor) -> None:
        for model in map(apps.get_model, labels):
            grant(apps, model._meta.app_label, model._meta.model_name, permission_names(model, actions))

    def backwards(apps: Apps, schema_editor) -> None:
        Group = apps.get_model("auth", "Group")
        Permission = apps.get_model("auth", "Permission")
        for model in map(apps.get_model, labels):
            kind = {"content_type__app_label": model._meta.app_label, "content_type__model": model._meta.model_name}
            granted = Permission.objects.filter(**kind, codename__in=permission_names(model, actions))
            for group in Group.objects.filter(name=GROUP):
                group.permissions.remove(*granted)

    return RunPython(forwards, backwards)
