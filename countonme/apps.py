from django.apps import AppConfig


class CountOnMeConfig(AppConfig):
    name = "countonme"
    verbose_name = "CountOnMe"

    def ready(self) -> None:
        from countonme import checks  # noqa: F401 - registers them
