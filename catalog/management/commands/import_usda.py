from pathlib import Path
from zipfile import BadZipFile
from zlib import error as ZlibError

from django.core.management.base import CommandError, CommandParser

from catalog.management.import_command import ImportCommand
from catalog.sources import USDA, usda


class Command(ImportCommand):
    help = (
        "Import foods of the USDA into the catalogue: the Standard Reference (SR28, ASCII) or the Foundation Foods "
        "(CSV). The service can keep running. If the import is stopped, run it again."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "folder", type=Path, metavar="FOLDER", help="The folder with the files, or their ZIP archive."
        )

    def handle(self, *, folder: Path, dry_run: bool, **options) -> None:
        try:
            rows = usda.read(usda.Files(folder))
            self.import_rows(USDA.name, folder.name, rows, dry_run=dry_run)
        except (OSError, BadZipFile, ZlibError, usda.UnreadableFiles) as error:
            raise CommandError(f"The files can't be read: {error}") from error
