import os
import sys
from collections.abc import Callable
from io import BufferedReader
from pathlib import Path

from django.core.management.base import CommandError, CommandParser

from catalog.management.import_command import ImportCommand
from catalog.sources import OFF, off


def names(text: str) -> list[str]:
    """Return the names as tags have them: `United States` is `united-states`."""
    return [name.strip().replace(" ", "-") for name in text.lower().split(",") if name.strip()]


class Command(ImportCommand):
    help = (
        "Import foods of Open Food Facts into the catalogue: a whole dump or a daily delta, JSONL or CSV, gzipped or "
        "not. The service can keep running. If the import is stopped, run it again."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("file", metavar="FILE", help="The downloaded file, or - for the standard input.")
        parser.add_argument(
            "--languages", type=names, default=[], metavar="en,de", help="Import only foods in these languages."
        )
        parser.add_argument(
            "--countries",
            type=names,
            default=[],
            metavar="germany,austria",
            help="Import only foods that are sold in one of these countries.",
        )
        parser.add_argument(
            "--complete",
            action="store_true",
            help="The file is a whole dump: withdraw the foods that it no longer has, if they are at most 5 %%.",
        )

    def handle(
        self, *, file: str, languages: list[str], countries: list[str], complete: bool, dry_run: bool, **options
    ) -> None:
        try:
            with sys.stdin.buffer if file == "-" else Path(file).open("rb") as dump:
                self.import_rows(
                    OFF.name,
                    os.fsencode(Path(file).name).decode(errors="replace"),
                    off.read(dump, languages, countries),
                    dry_run=dry_run,
                    share=share_of(dump),
                    is_complete=complete,
                )
        except (OSError, off.UnreadableFile) as error:
            raise CommandError(f"The file can't be read: {error}") from error


def share_of(file: BufferedReader) -> Callable[[], float | None]:
    """Return a function that returns which part of the file was read; None for a pipe."""
    size = os.fstat(file.fileno()).st_size if file.seekable() else 0
    return lambda: file.tell() / size if size else None
