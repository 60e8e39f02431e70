from django.apps import AppConfig
from django.conf import settings


class CountOnMeConfig(AppConfig):
    name = "countonme"
    verbose_name = "CountOnMe"

    def ready(self) -> None:
        from countonme import checks, converters, metrics  # noqa: F401 - registers them

        if settings.METRICS_TOKEN:
            metrics.turn_on()
