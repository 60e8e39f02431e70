"""Attack the service, and check that it still serves honest devices: `make abuse`.

The service runs with production settings, on a PostgreSQL of its own. Two honest phones call it, during one kind of
attack after the other, then during all at once. Exits with 1 if an honest request fails or takes too long, or if the
workers take too much memory. docs/abuse.md explains the table.

`--seconds` is the total duration (default: ABUSE_SECONDS, or 60). `--only` selects attacks by their names in the table.
"""

import argparse
import os
import signal
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import chain
from pathlib import Path
from threading import Event, Thread

from tests.e2e.abuse.attacks import ATTACKS, BY_NAME, CONNECTIONS, SHARED_ADDRESS
from tests.e2e.abuse.honest import HonestDevice, Newcomers
from tests.e2e.abuse.hostile import hostile
from tests.e2e.abuse.preparation import Preparation, World
from tests.e2e.abuse.report import Row, exit_code, failed, table
from tests.harness.machine import rss_of, workers_of
from tests.harness.processes import Postgres, folder_of_owner, postgres, wait_until
from tests.harness.servers import NO_LIMITS, Server, migrate, our_server, run_servers, say

DATABASE = "countonme"
NOTHING, ALL = "nothing", "all"
SHARES = {NOTHING: 1, **{attack.name: attack.share for attack in ATTACKS}, ALL: 6}  # of the time
SAMPLE_EVERY = 0.05  # seconds between two samples of the memory


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # exit normally, to stop all processes
    arguments = parse_arguments()
    phases = arguments.only or [NOTHING, *BY_NAME, ALL]
    attacks = list(BY_NAME) if ALL in phases else [name for name in phases if name != NOTHING]
    second = arguments.seconds / sum(SHARES[phase] for phase in phases)
    rows = []
    with folder_of_owner() as folder, postgres(folder / "data") as database:
        service = server_on(database)
        with run_servers(service):
            world = Preparation(service, database.url(DATABASE)).world(attacks, arguments.devices)
        for phase in phases:
            rows.append(measure(phase, second * SHARES[phase], service, database, world))
            say(f"{phase}: {'; '.join(rows[-1].faults()) or 'ok'}")
    say(f"\n{table(rows)}\n")
    say(f"FAILED: {', '.join(failed(rows))}" if failed(rows) else "The honest devices were served during all attacks.")
    return exit_code(rows)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=float(os.environ.get("ABUSE_SECONDS", "60")))
    parser.add_argument("--only", nargs="+", choices=[NOTHING, *BY_NAME, ALL], help="the attacks to run")
    parser.add_argument(
        "--devices", type=int, default=1, choices=range(1, CONNECTIONS + 1), help="the hostile devices of each attack"
    )
    return parser.parse_args()


def server_on(database: Postgres) -> Server:
    """Return the service on a new, migrated database. It has the default limits, and is behind one proxy."""
    database.run(f"CREATE DATABASE {DATABASE}")
    migrate(database.url(DATABASE))
    server = our_server(database.url(DATABASE), NUM_PROXIES="1")
    for setting in (*NO_LIMITS, "BCRYPT_ROUNDS"):
        del server.environment[setting]
    return server


def measure(phase: str, seconds: float, service: Server, database: Postgres, world: World) -> Row:
    """Start the service, and return the measurements during one attack."""
    attacks = {NOTHING: [], ALL: list(BY_NAME)}.get(phase, [phase])
    shared = any(BY_NAME[name].shares_address for name in attacks)
    callers = [replace(each, address=SHARED_ADDRESS) if shared else each for each in world.honest]
    with hostile(attacks, world.hostile) as attackers, run_servers(service), memory_of(service) as memory:
        wait_until(lambda: service.status("/readyz") == 200, "the service is not ready")
        honest = [HonestDevice(service.port, caller) for caller in callers]
        for device in honest:
            device.warm_up()
        if shared:
            honest.append(Newcomers(service.port, world.newcomers))
        if attackers:
            attackers.attack(service.port, seconds)
        end = time.monotonic() + seconds
        with ThreadPoolExecutor(len(honest)) as pool:
            samples = list(chain.from_iterable(pool.map(lambda each: each.run(end), honest)))
        statuses = attackers.statuses() if attackers else None
        peak = max(memory)
        with suppress(ProcessLookupError):
            service.kill()  # it may have minutes of work left
    database.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", DATABASE)
    sent = (
        BY_NAME[phase].sent if phase in BY_NAME else {NOTHING: "nothing", ALL: "all of it, over six connections"}[phase]
    )
    return Row(phase, sent, statuses, samples, peak)


@contextmanager
def memory_of(service: Server) -> Iterator[list[float]]:
    """Sample the memory of all workers together inside the block. Yield the list of samples, in MB."""
    held, ended = [0.0], Event()

    def sample_memory() -> None:
        while not ended.wait(SAMPLE_EVERY):
            held.append(sum(map(rss, service.workers)))
            if any(not Path("/proc", str(pid)).exists() for pid in service.workers):
                service.workers = workers_of(service.process.pid)

    thread = Thread(target=sample_memory, daemon=True)
    thread.start()
    try:
        yield held
    finally:
        ended.set()
        thread.join()


def rss(pid: int) -> float:
    try:
        return rss_of(pid)
    except OSError:  # the process has ended
        return 0.0


if __name__ == "__main__":
    sys.exit(main())
