from django.conf import settings
from django.core.checks import Error, Tags, register

from ownership.models import owned_models

DAILY = ("NEW_ROWS_FIRST_DAY", "NEW_ROWS_PER_DAY")


@register(Tags.security)
def check_quotas(app_configs, **kwargs) -> list:
    return [
        Error(f"{name} is not above 0.", hint="Leave it out for the default.", id="countonme.E012")
        for name in (*quota_settings(), *DAILY)
        if getattr(settings, name) < 1
    ]


def quota_settings() -> list[str]:
    """Return the names of the settings that limit the rows of each model."""
    named = [(model.quota_setting, model.quota_per_parent_setting) for model in owned_models()]
    return [name for names in named for name in names if name]
