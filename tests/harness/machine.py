"""Read /proc: the child processes of a server, their CPU time and their memory."""

import os
import platform
from pathlib import Path

PROC = Path("/proc")
TICK = os.sysconf("SC_CLK_TCK")


def fields_of(pid: int) -> list[str]:
    """Return the fields of a process's `stat` that follow its name: state, parent, …"""
    return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()


def pids() -> list[int]:
    return [int(entry.name) for entry in PROC.iterdir() if entry.name.isdigit()]


def command_of(pid: int) -> str:
    return (PROC / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")


def workers_of(pid: int) -> list[int]:
    """Return the worker processes of a server: its children, without multiprocessing's resource tracker."""
    found = []
    for child in pids():
        try:
            if int(fields_of(child)[1]) == pid and "resource_tracker" not in command_of(child):
                found.append(child)
        except OSError:  # the process has ended
            continue
    return sorted(found)


def cpu_of(processes: list[int]) -> float:
    """Return the seconds of user and system time that processes have used."""
    ticks = 0
    for pid in processes:
        try:
            user, system = fields_of(pid)[11:13]
        except OSError:
            continue
        ticks += int(user) + int(system)
    return ticks / TICK


def rss_of(pid: int) -> float:
    """Return the memory of a process in megabytes (10⁶ bytes), including what it shares with other processes."""
    for line in (PROC / str(pid) / "status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) * 1024 / 1e6
    return 0.0


def database_processes(database: str) -> list[int]:
    """Return the processes of a PostgreSQL on this machine that serve connections to a database."""
    found = []
    for pid in pids():
        try:
            command = command_of(pid)
        except OSError:
            continue
        if command.startswith("postgres:") and f" {database} " in command:
            found.append(pid)
    return found


def describe_machine() -> str:
    """Return the CPU model, the number of cores and the memory, as a text."""
    cpu = value_in("/proc/cpuinfo", "model name") or platform.machine()
    memory = int((value_in("/proc/meminfo", "MemTotal") or "0").split()[0]) / 1024**2
    return f"{cpu}, {os.cpu_count()} cores, {memory:.0f} GiB of memory"


def value_in(file: str, name: str) -> str | None:
    for line in Path(file).read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return None
