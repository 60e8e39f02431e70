import re
from datetime import timedelta


def days(text: str) -> timedelta:
    """Parse a command's argument such as `180d`. Raises ValueError, which argparse reports as invalid."""
    if not re.fullmatch(r"[0-9]{1,5}d", text):
        raise ValueError(text)
    return timedelta(days=int(text[:-1]))
