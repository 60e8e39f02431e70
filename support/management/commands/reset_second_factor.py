from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from support import second_factor
from support.models import AuditEntry


class Command(BaseCommand):
    help = "Remove the second factor of a member of staff who can't log in, and end the member's sessions."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", metavar="NAME", help="The name of an account.")

    def handle(self, *, name: str, **options) -> None:
        user = User.objects.filter(username=name).first()
        if user is None:
            raise CommandError("There is no such account.")
        if second_factor.authenticator_of(user) is None:
            raise CommandError(f"{name} has no second factor.")
        with transaction.atomic():
            second_factor.reset(user)
            AuditEntry.objects.create(
                user_name="manage.py reset_second_factor",
                kind=User._meta.label_lower,
                object_id=str(user.pk),
                act=second_factor.RESET,
            )
        self.stdout.write(f"{name} can log in with the password, and then set up a new second factor.")
