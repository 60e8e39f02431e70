from pathlib import Path
from zipfile import BadZipFile
from zlib import error as ZlibError

from django.core.management.base import CommandError, CommandParser

from catalog.management.import_command import ImportCommand
from catalog.models import CatalogRelease
from catalog.sources import USDA, usda

SHIPPED = Path(__file__).parents[2] / "data/sr28.zip"


class Command(ImportCommand):
    help = (
        "Import foods of the USDA into the catalogue: the Standard Reference (SR28, ASCII) or the Foundation Foods "
        "(CSV). The service can keep running. If the import is stopped, run it again."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "folder",
            type=Path,
            nargs="?",
            default=SHIPPED,
            metavar="FOLDER",
            help="The folder with the files, or their ZIP archive. The default is SR28, which comes with the code.",
        )
        parser.add_argument(
            "--once",
            action="store_true",
            help="Do nothing if files of this name were imported before.",
        )

    def handle(self, *, folder: Path, dry_run: bool, once: bool, **options) -> None:
        if once:
            if was_imported(folder.name):
                return
            self.stdout.write(f"Importing foods of the USDA ({folder.name}). This is done once and takes some seconds.")
        try:
            rows = usda.read(usda.Files(folder))
            self.import_rows(USDA.name, folder.name, rows, dry_run=dry_run)
        except (OSError, BadZipFile, ZlibError, usda.UnreadableFiles) as error:
            raise CommandError(f"The files can't be read: {error}") from error


def was_imported(name: str) -> bool:
    """Return whether an import of files of this name has reached its end."""
    return CatalogRelease.objects.filter(source=USDA.name, file_name=name, finished_at__isnull=False).exists()
