from django.conf import settings
from django.core.checks import Error, Tags, register

from ownership.models import DeviceOwned, owned_models

DAILY = ("NEW_ROWS_FIRST_DAY", "NEW_ROWS_PER_DAY")


@register(Tags.security)
def check_quotas(app_configs, **kwargs) -> list:
    return [
        Error(f"{name} must be greater than 0.", hint="Remove it to use the default.", id="countonme.E012")
        for name in (*DAILY, *(name for model in owned_models() for name in quota_settings(model)))
        if getattr(settings, name, 1) < 1
    ]


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
