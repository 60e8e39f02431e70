"""Find what a device-owned model lacks: its admin, viewset, sync table, factory, settings and documentation."""

from pathlib import Path

from django.conf import settings
from django.contrib import admin
from django.contrib.auth.models import Permission
from django.urls import URLPattern, get_resolver

from ownership.models import DeviceOwned, owned_models
from ownership.tests.factories import factories
from support.owned_admin import OwnedAdmin
from sync.registry import tables

SYNC_DOCS = Path(settings.BASE_DIR, "docs/api.md").read_text().partition("### Sync")[2]


def missing_parts(model: type[DeviceOwned]) -> list[str]:
    """Return what a model lacks: a line for each missing part, which names the place to add it."""
    meta = model._meta
    name = meta.object_name
    quotas = (getattr(model, "quota_setting", None), model.quota_per_parent_setting)
    permissions = {f"{action}_{meta.model_name}" for action in ("view", "change")}
    granted = Permission.objects.filter(
        group__name="Support", content_type__app_label=meta.app_label, content_type__model=meta.model_name
    )
    actions = routed_actions(model, get_resolver().url_patterns)
    parts = {
        f"a table in {meta.app_label}/sync_tables.py": model in {table.model for table in tables()},
        f"an OwnedAdmin in {meta.app_label}/admin.py": isinstance(admin.site._registry.get(model), OwnedAdmin),
        f"a route to a viewset of {name} in {meta.app_label}/urls.py, which countonme/urls.py lists": bool(actions),
        f"a route to restore a {name} in {meta.app_label}/urls.py": "restore" in actions,
        f"let_support_correct({meta.label!r}) in a migration": permissions
        <= set(granted.values_list("codename", flat=True)),
        f"an OwnedFactory in {meta.app_label}/tests/factories.py": model in {each._meta.model for each in factories()},
        f"a `quota_setting` of {name}": quotas[0] is not None,
        f"a line for `{meta.db_table}` among the tables of sync in docs/api.md": f"| `{meta.db_table}` |" in SYNC_DOCS,
    }
    parts |= {f"the setting {quota}": hasattr(settings, quota) for quota in quotas if quota}
    parts |= {
        f"a place after {parent._meta.object_name}, to which it refers": is_before(parent, model)
        for parent in owned_parents(model)
    }
    return [part for part, exists in parts.items() if not exists]


def routed_actions(model: type[DeviceOwned], patterns) -> set[str]:
    """Return the actions of the model's viewsets that have a route."""
    found = set()
    for pattern in patterns:
        if not isinstance(pattern, URLPattern):
            found |= routed_actions(model, pattern.url_patterns)
        elif getattr(getattr(pattern.callback, "cls", None), "model", None) is model:
            found |= set(pattern.callback.actions.values())
    return found


def owned_parents(model: type[DeviceOwned]) -> list[type[DeviceOwned]]:
    related = [field.related_model for field in model._meta.concrete_fields if field.is_relation]
    return [parent for parent in related if issubclass(parent, DeviceOwned) and parent is not model]


def is_before(parent: type[DeviceOwned], model: type[DeviceOwned]) -> bool:
    """Return whether the parent comes first. An erasure deletes rows in the reverse order, children before parents."""
    models = owned_models()
    return models.index(parent) < models.index(model)
