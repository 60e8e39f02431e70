from django.conf import settings
from django.core.checks import Error, register

from ownership.models import DeviceOwned, owned_models


@register
def check_models_have_quotas(app_configs, **kwargs) -> list:
    return [
        Error(
            f"{model._meta.label} has no quota.",
            hint="Set its `quota_setting` to the name of a setting that countonme/settings.py defines.",
            id="countonme.E014",
        )
        for model in owned_models()
        if not hasattr(model, "quota_setting") or not all(hasattr(settings, name) for name in quota_settings(model))
    ]


def quota_settings(model: type[DeviceOwned]) -> list[str]:
    """Return the names of the settings that limit the rows of a model."""
    return [name for name in (getattr(model, "quota_setting", None), model.quota_per_parent_setting) if name]
