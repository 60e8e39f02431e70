from collections import Counter
from datetime import timedelta

from django.core.management.base import BaseCommand, CommandParser
from django.utils import timezone

from countonme.durations import days
from ownership.plural import describe_rows, pluralize
from sync.purge import purge


class Command(BaseCommand):
    help = (
        "Permanently remove rows that were deleted long ago. A client that has not synced since then gets a full "
        "replacement with its next pull."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--older-than", type=days, required=True, help="Minimum age of the deletion in days, for example 180d."
        )
        parser.add_argument(
            "--commit", action="store_true", help="Remove the rows. Without this option they are only counted."
        )

    def handle(self, *, older_than: timedelta, commit: bool, **options) -> None:
        devices, removed = 0, Counter()
        for _, of_device in purge(timezone.now() - older_than, commit=commit):
            devices += any(of_device.values())
            removed.update(of_device)
        verb, rows = "Removed" if commit else "Would remove", describe_rows(removed) or "no rows"
        age = pluralize(older_than.days, "day")
        self.stdout.write(f"{verb} {rows} of {pluralize(devices, 'device')}, deleted more than {age} ago.")
        if not commit:
            self.stdout.write("Nothing has been changed. Add --commit to do it.")
