"""What the commands that import foods share: the progress on a terminal, and the counts at the end."""

import sys
import time
from collections.abc import Callable, Iterable
from typing import TextIO

from django.core.management.base import BaseCommand, CommandError, CommandParser

from catalog.food import Food, Refused
from catalog.importing import Counts, ImportFailed, count, run

INTERVAL = 0.5  # seconds between two changes of the progress bar

REASONS = {
    "no_gtin": "their code is no GTIN",
    "no_name": "they have no name",
    "long_name": "their name is too long",
    "no_energy": "they have no energy",
    "kcal_out_of_bounds": "their energy is impossible",
    "nutrient_out_of_bounds": "a nutrient is below 0 or over 100 g",
    "too_many_macros": "protein, carbohydrates and fat are more than 105 g",
    "more_energy_in_macros": "protein, carbohydrates and fat have more energy than stated",
    "less_energy_in_macros": "protein, carbohydrates and fat have less energy than stated",
    "other_language": "they are in another language",
    "other_country": "they are sold in other countries",
    "duplicate": "the file has them twice",
    "too_long": "their line is too long",
    "unreadable": "their line can't be read",
}


class Progress:
    """A progress bar, if the output is a terminal. `share` returns which part of the file was read, if it is known."""

    def __init__(self, output: TextIO, share: Callable[[], float | None]):
        self.output, self.share = output, share
        self.is_shown = output.isatty()
        self.started_at = self.shown_at = time.monotonic()

    def __call__(self, counts: Counts) -> None:
        if not self.is_shown or (now := time.monotonic()) < self.shown_at + INTERVAL:
            return
        self.shown_at = now
        share = self.share()
        bar = "" if share is None else f"[{'#' * round(30 * share):30}] {share:4.0%}  "
        rate = counts.read / (now - self.started_at)
        self.output.write(f"\r{bar}{counts.read:,} rows, {rate:,.0f} a second ")
        self.output.flush()

    def end(self) -> None:
        if self.is_shown:
            self.output.write("\r\x1b[K")


class ImportCommand(BaseCommand):
    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="Read and count the foods. Store nothing.")

    def import_rows(
        self,
        source: str,
        name: str,
        rows: Iterable[Food | Refused],
        *,
        dry_run: bool,
        share: Callable[[], float | None] = lambda: None,
        is_complete: bool = False,
    ) -> None:
        progress = Progress(sys.stderr, share)
        try:
            if dry_run:
                counts = count(rows, progress)
                progress.end()
                self.report(counts.read, counts.refused)
                self.stdout.write("Nothing has been stored.")
                return
            release = run(source, name, rows, progress, is_complete=is_complete)
        except ImportFailed as error:
            progress.end()
            if error.release:
                self.report(error.release.read, error.release.refused)
            raise CommandError(str(error)) from error
        finally:
            progress.end()
        self.report(release.read, release.refused)
        self.stdout.write(
            f"New or changed: {release.changed:,}. Withdrawn: {release.withdrawn:,}."
            f" The catalogue has {release.foods:,} foods of this source."
        )

    def report(self, read: int, refused: dict[str, int]) -> None:
        self.stdout.write(f"Read {read:,} rows and accepted {read - sum(refused.values()):,}.")
        for reason, number in sorted(refused.items(), key=lambda item: -item[1]):
            self.stdout.write(f"Refused {number:,} because {REASONS[reason]} ({reason}).")
