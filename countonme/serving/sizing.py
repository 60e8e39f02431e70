"""Defaults for gunicorn.conf.py that depend on the machine: workers, threads and connections."""

import os
from pathlib import Path

CPU_LIMIT = Path("/sys/fs/cgroup/cpu.max")
SQLITE_THREADS = 20
SINGLE_WORKER_CONNECTIONS = 500  # half of the usual limit of open files
MAX_WORKERS = 16  # with three connections each, PostgreSQL's default max_connections is enough


def workers_for(engine: str) -> int:
    """Return the default number of workers for a database engine.

    Requests are bound by the CPU, so there is one worker per core. There are at least two, so that one serves while the
    other is replaced. On SQLite there is one: only one writer can write at a time, and the fair queue of writers works
    within one process.
    """
    return 1 if is_sqlite(engine) else min(max(2, cores()), MAX_WORKERS)


def threads_for(engine: str) -> int:
    """Return the default number of threads per worker. On SQLite there are more, because writers wait in threads."""
    return SQLITE_THREADS if is_sqlite(engine) else 3


def is_sqlite(engine: str) -> bool:
    return "sqlite" in engine


def connections_for(workers: int, threads: int) -> int:
    """Return the maximum number of client connections per worker.

    With two or more workers the limit is low, so that connections spread over all of them. Without it, one worker was
    seen to have all sixteen. A single worker gets a high limit: if clients that send request after request filled a low
    one, no other client could connect.
    """
    return 3 * threads if workers > 1 else SINGLE_WORKER_CONNECTIONS


def cores(limit: Path = CPU_LIMIT) -> int:
    """Return how many cores this process may use, by its CPU affinity and its container's limit."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = limit.read_text().split()
        return min(available, max(1, round(int(quota) / int(period))))
    except (OSError, ValueError):  # no container, or one without a limit: "max 100000"
        return available
