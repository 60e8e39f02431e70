"""Durations as arguments of management commands: `180d`."""

import re
from datetime import timedelta


def days(text: str) -> timedelta:
    """Parse a duration such as `180d`. Raise ValueError if it is invalid, which argparse reports."""
    if not re.fullmatch(r"[0-9]{1,5}d", text):
        raise ValueError(text)
    return timedelta(days=int(text[:-1]))
