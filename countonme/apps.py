from django.apps import AppConfig
from django.conf import settings


class CountOnMeConfig(AppConfig):
    name = "countonme"
    verbose_name = "CountOnMe"

    def ready(self) -> None:
        from countonme import checks  # noqa: F401 - registers them
        from countonme.api import path_converters  # noqa: F401 - registers them
        from countonme.observability import metrics

        if settings.METRICS_TOKEN:
            metrics.turn_on()
