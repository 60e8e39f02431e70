from support.admin import UNBLOCK
from support.management.commands import block_device


class Command(block_device.Command):
    help = "Unblock a device: its token works again."
    act = UNBLOCK
