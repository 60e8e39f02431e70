"""What gunicorn.conf.py decides by the machine, and how it says that a setting is wrong."""

import os
from pathlib import Path

SHARE = Path("/sys/fs/cgroup/cpu.max")
SQLITE_THREADS = 20
ALONE_CONNECTIONS = 500  # half of the files that a process may usually have open
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

    A request is work for a core, so one for each, but two at least: one serves while the other is replaced. SQLite
    lets one writer write at a time, whatever it runs in, and only the writers of one process queue in a fair order.
    """
    return 1 if is_sqlite(engine) else min(max(2, cores()), MOST_WORKERS)


def threads_for(engine: str) -> int:
    """Return how many threads a worker needs. With SQLite, writers wait in threads, and readers need some as well."""
    return SQLITE_THREADS if is_sqlite(engine) else 3


def is_sqlite(engine: str) -> bool:
    return "sqlite" in engine


def connections_for(workers: int, threads: int) -> int:
    """Return how many clients' connections a worker keeps.

    Two workers or more keep a few idle connections each, and take no more than they have room for, so that each gets
    its share: without a bound, all of sixteen were seen to sit on one worker. One worker takes all: while as many
    clients as it has room for send request after request, another one would never get in.
    """
    return 3 * threads if workers > 1 else ALONE_CONNECTIONS


def cores(share: Path = SHARE) -> int:
    """Return how many cores this process may use: those it is bound to, or its container's share of them."""
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = share.read_text().split()
        return min(bound, max(1, round(int(quota) / int(period))))
    except (OSError, ValueError):  # no container, or one without a limit: "max 100000"
        return bound
