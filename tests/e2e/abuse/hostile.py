"""The hostile clients, in a separate process with a lower priority than the service.

`python -m tests.e2e.abuse.hostile` reads a line with the attacks and their devices, builds the bodies and prints
`ready`. It then reads a line with a port and a number of seconds, attacks for that time, and prints the number of
requests by status.
"""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict

from tests.e2e.abuse.attacks import Caller, Script, scripts_of
from tests.e2e.abuse.wire import CLOSED, LEFT, Client
from tests.harness.processes import ROOT

NICENESS = 10
MAX_REQUESTS = 100_000  # of one connection
PAUSE = 0.1  # seconds before a new connection, so that connecting is not the attack


def main() -> None:
    os.nice(NICENESS)
    order = json.loads(sys.stdin.readline())
    callers = {name: [Caller(**each) for each in of_name] for name, of_name in order["callers"].items()}
    scripts = scripts_of(order["attacks"], callers)
    reply("ready")
    start = json.loads(sys.stdin.readline())
    reply(json.dumps(attack(scripts, start["port"], start["seconds"])))


def reply(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def attack(scripts: list[Script], port: int, seconds: float) -> Counter:
    """Run all scripts at once, each over its own connection. Count the requests by status."""
    end = time.monotonic() + seconds
    with ThreadPoolExecutor(len(scripts)) as pool:
        return sum(pool.map(lambda script: statuses_of(script, Client(port, end)), scripts), Counter())


def statuses_of(script: Script, client: Client) -> Counter:
    statuses, last = Counter(), None
    for _ in range(MAX_REQUESTS):
        if time.monotonic() >= client.end:
            break
        last = client.exchange(script.send(last))
        statuses[last.status] += 1
        if last.status in (CLOSED, LEFT):
            time.sleep(PAUSE)
    client.close()
    return statuses


# --- the parent process ---------------------------------------------------------------------------


class Hostile:
    """The handle of the hostile process in its parent process."""

    def __init__(self, process: subprocess.Popen):
        self.process = process

    def write(self, **order) -> None:
        self.process.stdin.write(f"{json.dumps(order)}\n")
        self.process.stdin.flush()

    def line(self) -> str:
        line = self.process.stdout.readline().strip()
        if not line:
            raise SystemExit("The hostile process has ended.")
        return line

    def attack(self, port: int, seconds: float) -> None:
        """Begin the attack as soon as all bodies are built."""
        self.line()
        self.write(port=port, seconds=seconds)

    def statuses(self) -> Counter:
        """Wait for the end of the attack, and return the number of requests by status."""
        return Counter(json.loads(self.line()))


@contextmanager
def hostile(attacks: list[str], callers: dict[str, list[Caller]]) -> Iterator[Hostile | None]:
    """Run a hostile process inside the block, unless there are no attacks."""
    if not attacks:
        yield None
        return
    command = [sys.executable, "-m", "tests.e2e.abuse.hostile"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=ROOT, **pipes) as process:
        started = Hostile(process)
        try:
            of_each = {name: [asdict(caller) for caller in callers[name]] for name in attacks}
            started.write(attacks=attacks, callers=of_each)
            yield started
        finally:
            process.kill()


if __name__ == "__main__":
    main()
