import uuid

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from countonme.api.errors import Conflict
from devices.models import Device
from support.actions import ReasonField
from support.admin import BLOCK
from support.models import AuditEntry


class Command(BaseCommand):
    help = "Block a device: from now on, each of its requests gets a 403. Its data is kept."
    act = BLOCK

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("device", type=uuid.UUID, metavar="ID", help="The id of the device.")
        parser.add_argument(
            "--reason", required=True, metavar="TEXT", help="Who asked for this, and why? For the audit log."
        )

    def handle(self, *, device: uuid.UUID, reason: str, **options) -> None:
        try:
            reason = ReasonField().clean(reason)
        except ValidationError as error:
            raise CommandError(f"--reason: {' '.join(error.messages)}") from error
        row = Device.objects.active().filter(pk=device).first()
        if row is None:
            raise CommandError("There is no such device.")
        try:
            with transaction.atomic():
                self.act.run(row)
                AuditEntry.objects.create(
                    user_name=f"manage.py {self.act.name}_device",
                    kind=Device._meta.label_lower,
                    object_id=str(row.pk),
                    device=row,
                    act=self.act.logged_as,
                    reason=reason,
                )
        except Conflict as error:
            raise CommandError(str(error.detail)) from error
        self.stdout.write(f"{self.act.logged_as} the device {row.pk}.")
