from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from devices.models import Restore


class Command(BaseCommand):
    help = (
        "Run once after the database was restored from a backup, before the service starts again: every phone is told "
        "at its next sync, and pushes again what the backup lacks."
    )

    def handle(self, **options) -> None:
        try:
            restore, devices = Restore.objects.record(timezone.now())
        except ValueError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"{devices} devices count from {restore.base} on.")
