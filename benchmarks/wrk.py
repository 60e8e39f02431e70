"""Measure a server under load from wrk, over loopback."""

import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measured_calls import Request
from tests.harness.machine import cpu_of, database_processes, rss_of
from tests.harness.servers import Server

SCRIPT = Path(__file__).with_name("load.lua")
CONNECTIONS = 16


@dataclass(frozen=True)
class Load:
    """The result of a run: requests per second, latencies in ms, CPU time in ms per request, RSS in MB.

    `busier` is the share of the workers' CPU that the busier of them used: 0.5 if two share the load equally.
    """

    requests: int
    rate: float
    p50: float
    p99: float
    cpu: float
    database_cpu: float
    busier: float
    rss: float

    @property
    def whole_cpu(self) -> float:
        return self.cpu + self.database_cpu


def require_wrk() -> None:
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is not installed. On Debian and Ubuntu: apt-get install wrk")


def measure(server: Server, requests: Iterable[Request], seconds: int) -> Load:
    """Send the requests in turn for this number of seconds. Exit if any of them fails."""
    before, database_cpu = cpu_of_each(server), cpu_of(database_processes(server.database))
    result = wrk(server, requests, seconds)
    cpu = [after - start for start, after in zip(before, cpu_of_each(server), strict=True)]
    database_cpu = cpu_of(database_processes(server.database)) - database_cpu
    if not result["requests"] or result["refused"] or result["broken"]:
        raise SystemExit(f"{server.name} failed under load: {result}")
    return Load(
        requests=result["requests"],
        rate=result["requests"] / result["seconds"],
        p50=result["p50"],
        p99=result["p99"],
        cpu=1000 * sum(cpu) / result["requests"],
        database_cpu=max(0.0, 1000 * database_cpu / result["requests"]),
        busier=max(cpu) / (sum(cpu) or 1),
        rss=max(rss_of(pid) for pid in server.workers),
    )


def cpu_of_each(server: Server) -> list[float]:
    return [cpu_of([worker]) for worker in server.workers]


def wrk(server: Server, requests: Iterable[Request], seconds: int) -> dict:
    with tempfile.NamedTemporaryFile("w", suffix=".tsv") as file:
        file.writelines(f"{request.line()}\n" for request in requests)
        file.flush()
        command = ["wrk", "--threads", "1", "--connections", str(CONNECTIONS), "--duration", f"{seconds}s"]
        command += ["--timeout", "10s", "--script", str(SCRIPT), server.url, "--", file.name]
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 30, check=False)
    if done.returncode:
        raise SystemExit(f"wrk failed: {done.stdout}{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])
