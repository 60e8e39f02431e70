import uuid
from datetime import datetime, timedelta

from django.contrib.admin.models import LogEntry
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from account.erasure import (
    add_missing_to_ledger,
    adopt_marked_devices,
    erase_pending,
    idle_devices,
    mark_idle_devices,
)
from countonme.api.errors import InvalidToken
from countonme.durations import days
from devices.models import Attempts, Erasure
from ownership.plural import describe_rows, pluralize
from support.models import ChangedValues


class Command(BaseCommand):
    help = (
        "Remove the data of devices whose erasure was requested. Run this every night. The service can keep running. "
        "If the command is killed, the next run continues from there."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        which = parser.add_mutually_exclusive_group()
        which.add_argument(
            "--idle",
            type=days,
            metavar="730d",
            help="Count the devices that have not been seen for this many days, or registered that long ago and never "
            "stored a row. With --commit, erase them.",
        )
        which.add_argument("--device", type=uuid.UUID, metavar="ID", help="Erase this device, at its owner's request.")
        parser.add_argument("--commit", action="store_true", help="With --idle: erase the devices.")

    def handle(self, *, idle: timedelta | None, device: uuid.UUID | None, commit: bool, **options) -> None:
        if idle is not None:
            if not idle:
                raise CommandError("--idle must be at least 1d. With 0d, every device is idle.")
            before = timezone.now() - idle
            if not commit:
                self.count_idle_devices(before, idle.days)
                return
            self.stdout.write(f"Marked {pluralize(mark_idle_devices(before), 'idle device')}.")
        if device is not None:
            self.mark(device)
        adopt_marked_devices()
        is_ledger_complete = add_missing_to_ledger()
        LogEntry.objects.all().delete()  # an older release may have run after `migrate`, and its entries name foods
        Attempts.objects.remove_expired()
        ChangedValues.objects.remove_old()
        outcome = erase_pending()
        rows = describe_rows(outcome.removed) or "no rows"
        self.stdout.write(f"Erased {pluralize(outcome.erased, 'device')}: removed {rows}.")
        if outcome.failed:
            raise CommandError(
                f"{pluralize(outcome.failed, 'erasure')} failed. The log says why. The next run tries again."
            )
        if not is_ledger_complete:
            raise CommandError("The erasure ledger can't be written. Without it, a restore brings erased devices back.")

    def count_idle_devices(self, before: datetime, number: int) -> None:
        idle = idle_devices(before)
        unseen = idle.filter(last_seen_at__lt=before).count()
        unused = idle.count() - unseen
        self.stdout.write(f"Devices that have not been seen for {number} days: {unseen}.")
        self.stdout.write(
            f"Other devices that registered more than {number} days ago and never stored a row: {unused}."
        )
        self.stdout.write("Nothing has been changed. Add --commit to erase them.")

    def mark(self, device_id: uuid.UUID) -> None:
        try:
            erasure = Erasure.objects.request(device_id, uuid.uuid4())
        except InvalidToken as error:
            raise CommandError("There is no such device.") from error
        self.stdout.write(f"The receipt is /v1/erasures/{erasure.pk}.")
