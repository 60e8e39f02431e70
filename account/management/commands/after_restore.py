from pathlib import Path

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection
from django.utils import timezone

from account import ledger
from account.erasure import add_missing_to_ledger, adopt_marked_devices, erase_pending, mark_from_ledger
from countonme.environment import OTHER_USER
from countonme.management.database import connect_or_stop
from devices.models import Restore
from ownership.plural import pluralize


class Command(BaseCommand):
    help = (
        "Run this once after you restored the database from a backup, before the service starts again. It erases the "
        "devices in the ledger again. At its next sync, every phone learns that it must push what the backup lacks."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--ledger",
            action="append",
            default=[],
            dest="files",
            type=Path,
            metavar="FILE",
            help="A ledger of erasures to read in addition to ERASURE_LEDGER, such as the copy next to the backup. "
            "Can be repeated.",
        )
        parser.add_argument(
            "--without-ledger", action="store_true", help="Continue even if no ledger lists an erasure."
        )

    def handle(self, *, files: list[Path], without_ledger: bool, **options) -> None:
        entries = self.entries_of(files, without_ledger=without_ledger)
        connect_or_stop(connection)
        mark_from_ledger(entries)
        try:
            restore, devices = Restore.objects.record(timezone.now())
        except ValueError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"Set the revision of {pluralize(devices, 'device')} to {restore.base}.")
        adopt_marked_devices()
        add_missing_to_ledger()
        outcome = erase_pending(pauses=False)
        self.stdout.write(f"Completed {pluralize(outcome.erased, 'erasure')}.")
        if outcome.failed:
            raise CommandError(
                f"{pluralize(outcome.failed, 'erasure')} failed. The log says why. manage.py erase tries again."
            )

    def entries_of(self, files: list[Path], *, without_ledger: bool) -> dict[str, ledger.Entry]:
        """Return the entries of all ledgers by the device's hash."""
        own = Path(settings.ERASURE_LEDGER)
        entries, unreadable = {}, 0
        try:
            if own.exists():
                files = [own, *files]
            for file in files:
                for entry in ledger.read(file):
                    if entry is None:
                        unreadable += 1
                    else:
                        entries.setdefault(entry.device_hash, entry)
        except OSError as error:
            hint = f". {OTHER_USER}" if isinstance(error, PermissionError) else ""
            raise CommandError(f"The ledger can't be read: {error}{hint}") from error
        if not entries and not without_ledger:
            raise CommandError(
                f"There is no ledger of erasures at {own}, or it is empty: devices that were erased after the backup "
                "would come back. Add --ledger FILE. If no device was ever erased, add --without-ledger."
            )
        self.stdout.write(f"The ledger lists {pluralize(len(entries), 'erasure')}, in {pluralize(len(files), 'file')}.")
        if unreadable:
            self.stderr.write(f"Ignored {pluralize(unreadable, 'line')} of the ledger that can't be read.")
        return entries
