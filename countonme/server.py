"""What gunicorn.conf.py decides by the machine, and how it says that a setting is wrong."""

import os
from pathlib import Path

SHARE = Path("/sys/fs/cgroup/cpu.max")
MOST_WORKERS = 16  # unless told: with three connections each, what PostgreSQL takes as it comes


def whole(name: str, text: str, *, least: int, default: int | None = None) -> int:
    """Return the whole number that a setting spells; end the start with a clear word where it spells none."""
    if not text and default is not None:
        return default
    if text.isascii() and text.isdigit() and int(text) >= least:
        return int(text)
    raise SystemExit(f"{name} is {text!r}. It must be a whole number from {least} on.")


def workers_for(engine: str) -> int:
    """Return how many workers serve a database of this engine best.

    A request is work for a core, so one for each, but two at least: one serves while the other is replaced. On SQLite
    two are all that makes sense, since writers wait for each other whatever they run in.
    """
    return 2 if engine.endswith("sqlite3") else min(max(2, cores()), MOST_WORKERS)


def cores(share: Path = SHARE) -> int:
    """Return how many cores this process may use: those it is bound to, or its container's share of them."""
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = share.read_text().split()
        return min(bound, max(1, round(int(quota) / int(period))))
    except (OSError, ValueError):  # no container, or one without a limit: "max 100000"
        return bound
