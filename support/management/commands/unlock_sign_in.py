from ipaddress import ip_address
from unicodedata import normalize

from django.core.management.base import BaseCommand, CommandError, CommandParser

from support.sign_in import forget_failures_from, forget_failures_of


class Command(BaseCommand):
    help = (
        "Lift the lockout of a member of staff, or of an address, after too many failed logins to the admin. Run it "
        "with the settings of the service: the database stores names and addresses as hashes with SECRET_KEY."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("names", nargs="*", metavar="NAME", help="The name of an account.")
        parser.add_argument(
            "--address", action="append", default=[], metavar="IP", help="The IP address of a browser. Can be repeated."
        )

    def handle(self, *, names: list[str], address: list[str], **options) -> None:
        if not (names or address):
            raise CommandError("Give the name of an account, or --address.")
        for text in address:
            try:
                ip_address(text)
            except ValueError as error:
                raise CommandError(f"{text!r} is not an IP address. Nothing was changed.") from error
        for text in address:
            self.report(text, forget_failures_from(text))
        for name in names:
            self.report(name, forget_failures_of(normalize("NFKC", name).strip()))

    def report(self, whose: str, removed: int) -> None:
        if removed:
            self.stdout.write(f"{whose} can log in again: the failed logins are removed.")
        else:
            self.stdout.write(f"{whose} has no failed logins.")
