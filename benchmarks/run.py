"""Compare CountOnMe with the service it replaces and with the limit: `make bench`.

BENCH_ROUNDS and BENCH_SECONDS say how often and how long each call is timed on each server, BENCH_LETTER=0 leaves out
the token check to the letter, BENCH_POSTGRES is PostgreSQL's address without a database.
"""

import os
import signal
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, fields

import bcrypt
import psycopg

from benchmarks import data, report, wrk
from benchmarks.calls import CALLS, Call, Request, asked, conditional, every_token
from benchmarks.check import agreed
from benchmarks.peers import PEER_BIN, TODAY_BIN, create_peer, fastapi, limit
from benchmarks.profiled import profiled
from benchmarks.wrk import Load
from tests.harness.servers import Server, databases, migrate_ours, ours, running, say, url_of

ROUNDS = min(int(os.environ.get("BENCH_ROUNDS", "5")), 20)
SECONDS = min(int(os.environ.get("BENCH_SECONDS", "3")), 30)
LETTER = os.environ.get("BENCH_LETTER", "1") == "1"
LETTER_DEVICES = {1: 4, 10: 4, 100: 1}  # devices: requests, which take as many bcrypt checks as half of the devices
PASSLIB_ROUNDS = 12  # what the document's `bcrypt.hash` takes


@dataclass(frozen=True)
class Result:
    call: Call
    of_server: dict[str, Load]


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what is started is stopped
    wrk.required()
    if not all((folder / "uvicorn").exists() for folder in (PEER_BIN, TODAY_BIN)):
        raise SystemExit("The FastAPI service is not installed. `make bench` does it.")
    results, said = compared()
    letter = to_the_letter() if LETTER else {}
    report.write(results, profiled(), letter, said, ROUNDS, SECONDS)


def compared() -> tuple[list[Result], dict[str, str]]:
    with databases("bench_ours", "bench_fastapi"):
        say("Filling the databases")
        made = filled()
        peers = (fastapi("bench_fastapi"), fastapi("bench_fastapi", today=True))
        servers = (ours("bench_ours"), *peers, limit("bench_ours"))
        with running(*servers):
            for peer in peers:
                agreed(servers[0], peer, servers[-1], made)
            say("The bodies are the same. Warming up")
            for server in servers:
                wrk.loaded(server, every_token(made), seconds=max(2, SECONDS))
            return [timed(call, servers, made) for call in CALLS], versions()


def filled() -> data.Data:
    made = data.made()
    migrate_ours("bench_ours")
    data.store_ours(url_of("bench_ours"), made)
    create_peer("bench_fastapi")
    data.store_peer(url_of("bench_fastapi"), made)
    return made


def timed(call: Call, servers: tuple[Server, ...], made: data.Data) -> Result:
    requests = {server.name: requests_for(call, server, made) for server in servers}
    loads: dict[str, list[Load]] = {server.name: [] for server in servers}
    for number in range(ROUNDS):
        turn = number % len(servers)
        for server in servers[turn:] + servers[:turn]:  # nobody is always first
            loads[server.name].append(wrk.loaded(server, requests[server.name], SECONDS))
    result = Result(call, {name: median(rounds) for name, rounds in loads.items()})
    rates = ", ".join(f"{name} {load.rate:.0f}" for name, load in result.of_server.items())
    say(f"{call.name}: {rates} requests a second")
    return result


def requests_for(call: Call, server: Server, made: data.Data) -> list[Request]:
    requests = call.requests(made)
    return conditional(server, requests) if call.conditional else requests


def median(rounds: list[Load]) -> Load:
    return Load(
        **{field.name: statistics.median(getattr(load, field.name) for load in rounds) for field in fields(Load)}
    )


def to_the_letter() -> dict[int, float]:
    """Return the seconds that a request takes where its token is checked against every device, by their number."""
    made = data.made()
    caller = made.devices[0]
    own, others = (
        bcrypt.hashpw(text, bcrypt.gensalt(PASSLIB_ROUNDS)).decode() for text in (secret(caller), b"another")
    )
    request = Request("GET", f"/v1/products/{caller.product_ids[0]}", caller.token)
    taken = {}
    with databases("bench_letter"):
        create_peer("bench_letter")
        server = fastapi("bench_letter", PEER_AUTH="letter")
        with running(server):
            for devices, times in LETTER_DEVICES.items():
                data.store_letter(url_of("bench_letter"), caller, devices, (own, others))
                taken[devices] = statistics.median(seconds_of(server, request) for _ in range(times))
                say(f"to the letter, {devices} devices: {taken[devices]:.2f} s a request")
    return taken


def secret(device: data.Device) -> bytes:
    return device.token.encode()[:72]


def seconds_of(server: Server, request: Request) -> float:
    began = time.perf_counter()
    answer = asked(server, request)
    if answer.status != 200:
        raise SystemExit(f"to the letter: {answer}")
    return time.perf_counter() - began


def versions() -> dict[str, str]:
    """Return the version of what serves, and of PostgreSQL and wrk."""
    with psycopg.connect(url_of("postgres")) as connection:
        postgres = connection.info.parameter_status("server_version")
    wrk_says = subprocess.run(["wrk", "--version"], capture_output=True, text=True, check=False).stdout.split()
    return {"PostgreSQL": postgres, "wrk": wrk_says[1], "Python": sys.version.split()[0], **report.pins()}


if __name__ == "__main__":
    main()
