from django.apps import AppConfig


class OwnershipConfig(AppConfig):
    name = "ownership"
    verbose_name = "Ownership"

    def ready(self) -> None:
        from ownership import checks  # noqa: F401 - registers them
