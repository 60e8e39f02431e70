#!/usr/bin/env python
import os
import sys

if __name__ == "__main__":
    # The database file, dumps and exports hold personal data: only the user who runs this can read what it creates.
    os.umask(0o077)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "countonme.settings")

    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)
