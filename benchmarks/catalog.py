"""Measure the catalogue with millions of foods: `python -m benchmarks.catalog`.

The foods are SR28, and dumps in the formats of Open Food Facts that are made from the words of the samples. They are
imported on PostgreSQL (BENCH_POSTGRES) and on SQLite, searched through HTTP, and compared with usual ways to search.

`--foods` is the number of foods in the dumps, and `--jsonl` how many of them are in the JSONL. `--folder` keeps the
dumps (3 GB for 3,000,000 foods) for the next run. `--only` selects one of the databases.
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from urllib.parse import quote

from benchmarks import wrk
from benchmarks.catalog_dumps import FIRST_CODE, SAMPLES, Maker, with_check_digit, write
from benchmarks.catalog_queries import LIMIT, TEXTS
from benchmarks.data import vacuum
from benchmarks.measured_calls import NEW_PRODUCT, Request
from tests.harness.databases import create_databases, url_of
from tests.harness.machine import cpu_of, describe_machine, value_in
from tests.harness.phone import Phone
from tests.harness.processes import ROOT
from tests.harness.servers import OURS_BIN, Server, manage, migrate, our_environment, our_server, run_servers, say

RESULTS = Path(__file__).with_name("catalog.md")
DATABASE = "bench_catalog"
RELEVANCE = json.loads((SAMPLES / "relevance_sr28.json").read_text())
ROUNDS = 20  # of all texts, after two that warm up
LOADS, LOAD_SECONDS = 3, 5  # runs of wrk on each server
QUIET = 20  # seconds of reading before an import
PAUSE = 0.02  # seconds between two requests of a reader
FOODS = "/v1/catalog/foods"


@dataclass(frozen=True)
class Dumps:
    csv: Path
    jsonl: Path
    rows: dict[str, int]
    distinct_words: int


@dataclass(frozen=True)
class Import:
    """Rows per second, the CPU time of the process in µs per row, and its most memory in MB of 10⁶ bytes."""

    rate: float
    cpu: float
    memory: float


@dataclass
class Figures:
    """The measurements on one database: times in ms, CPU time in ms per request, rates in requests per second."""

    foods: int = 0
    sr28_seconds: float = 0
    csv: Import | None = None
    jsonl: Import | None = None
    quiet: list[float] = field(default_factory=list)
    importing: list[float] = field(default_factory=list)
    searches: list[float] = field(default_factory=list)
    barcodes: list[float] = field(default_factory=list)
    products: list[float] = field(default_factory=list)
    rate: float = 0
    limit: float = 0
    cpu: float = 0
    limit_cpu: float = 0
    sql: list[float] = field(default_factory=list)
    usual: dict[str, list[float]] = field(default_factory=dict)
    alone: tuple[int, int] = (0, 0)  # searches with an expected food in the top 3, in the top 10
    among_all: tuple[int, int] = (0, 0)


def main() -> None:
    arguments = parse_arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # exit normally, to stop all processes
    wrk.require_wrk()
    load, figures = os.getloadavg()[0], {}
    names = [DATABASE] if "PostgreSQL" in arguments.only else []
    with tempfile.TemporaryDirectory(prefix="bench-catalog.") as folder, create_databases(*names):
        scratch = Path(folder)
        dumps = make_dumps(arguments.folder or scratch, arguments.foods, arguments.jsonl)
        urls = {"PostgreSQL": url_of(DATABASE), "SQLite": f"sqlite:///{scratch}/db.sqlite3"}
        for name in arguments.only:
            figures[name] = measure(urls[name], dumps, scratch)
            text = page(figures, dumps, f"{load:.1f} at the start and {os.getloadavg()[0]:.1f} at the end")
            arguments.output.write_text(text)
    say(text)
    say(f"Written: {arguments.output}")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--foods", type=int, default=3_000_000)
    parser.add_argument("--jsonl", type=int, help="the default is a tenth of --foods")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--only", action="append", choices=("PostgreSQL", "SQLite"))
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    arguments.jsonl = arguments.jsonl or arguments.foods // 10
    arguments.only = arguments.only or ["PostgreSQL", "SQLite"]
    return arguments


def make_dumps(folder: Path, foods: int, jsonl: int) -> Dumps:
    folder.mkdir(exist_ok=True)
    kept = folder / f"{foods}-{jsonl}.json"
    paths = (folder / f"{foods}-{jsonl}.csv.gz", folder / f"{foods}-{jsonl}.jsonl.gz")
    if not kept.exists():
        maker = Maker(1)
        for path, lines in zip(paths, (maker.csv(0, foods - jsonl), maker.jsonl(foods - jsonl, jsonl)), strict=True):
            size = write(path, lines)
            say(f"{path.name}: {size / 1e6:,.0f} MB")
        kept.write_text(json.dumps(maker.distinct_words()))
    return Dumps(*paths, {"csv": foods - jsonl, "jsonl": jsonl}, json.loads(kept.read_text()))


def measure(url: str, dumps: Dumps, scratch: Path) -> Figures:
    figures = Figures()
    migrate(url)
    began = time.monotonic()
    manage(our_environment(url), "import_usda")
    figures.sr28_seconds = time.monotonic() - began
    service = our_server(url, WEB_CONCURRENCY="2")
    with run_servers(service), Phone(service.port, keeps_connection=True) as phone:
        phone.register()
        figures.alone = relevance(phone)
        figures.csv = import_off(url, dumps.csv, dumps.rows["csv"])
        tidy(url)
        with reading(service) as (times, stopped):
            time.sleep(QUIET)
            stopped.set()
        figures.quiet = times
        with reading(service) as (times, stopped):
            figures.jsonl = import_off(url, dumps.jsonl, dumps.rows["jsonl"])
            stopped.set()
        figures.importing = times
        tidy(url)
        phone.close()  # the service has closed the idle connection
        figures.foods = sum(source["foods"] for source in fetch(phone, "/v1/catalog/sources"))
        time.sleep(5)  # a worker remembers the latest import for as long
        figures.among_all = relevance(phone)
        measure_requests(phone, dumps.rows["csv"], figures)
        recorded = scratch / "recorded.json"
        measure_sql(url, recorded, figures)
        measure_loads(url, service, phone, recorded, figures)
    return figures


def tidy(url: str) -> None:
    """Do what autovacuum does some minutes after an import."""
    if url.startswith("postgres"):
        vacuum(url)


def import_off(url: str, dump: Path, rows: int) -> Import:
    """Import a dump with the command."""
    began, memory, cpu = time.monotonic(), 0, 0.0
    command = [str(OURS_BIN / "python"), "manage.py", "import_off", str(dump)]
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **our_environment(url)})
    try:
        while process.poll() is None:
            # The kernel keeps the maximum, but not after the end of the process.
            memory = int((value_in(f"/proc/{process.pid}/status", "VmHWM") or f"{memory} kB").split()[0])
            cpu = max(cpu, cpu_of([process.pid]))
            time.sleep(0.1)
    finally:
        process.kill()
        process.wait()
    if process.returncode:
        raise SystemExit(f"import_off ended with {process.returncode}")
    done = Import(rows / (time.monotonic() - began), 1e6 * cpu / rows, memory * 1024 / 1e6)
    say(f"{dump.name}: {done}")
    return done


# --- requests -------------------------------------------------------------------------------------


def search_path(text: str) -> str:
    return f"{FOODS}?search={quote(text)}&limit={LIMIT}"


def fetch(phone: Phone, path: str):
    response = phone.get(path)
    if response.status_code != 200:
        raise SystemExit(f"GET {path}: {response}")
    return response.json()


def time_of(phone: Phone, path: str) -> float:
    """Return the milliseconds of a request."""
    began = time.perf_counter()
    response = phone.get(path)
    taken = time.perf_counter() - began
    if response.status_code != 200:
        raise SystemExit(f"GET {path}: {response}")
    return 1000 * taken


@contextmanager
def reading(service: Server) -> Iterator[tuple[list[float], Event]]:
    """Search inside the block until the event is set. The list gets the time of each request."""
    times, stopped = [], Event()

    def read() -> None:
        with Phone(service.port, keeps_connection=True) as phone:
            phone.register()
            time_of(phone, search_path(TEXTS[0]))
            while not stopped.is_set():
                times.extend(time_of(phone, search_path(text)) for text in TEXTS if not stopped.wait(PAUSE))

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(read)
        try:
            yield times, stopped
        finally:
            stopped.set()
        running.result()


def relevance(phone: Phone) -> tuple[int, int]:
    """Return how many searches have an expected food in the top 3, and in the top 10."""
    top_3 = top_10 = 0
    for query in RELEVANCE:
        found = [food["source_id"] for food in fetch(phone, search_path(query["query"]))]
        top_3 += bool({*query["expect_top3"]} & {*found[:3]})
        top_10 += bool({*query["expect_top3"], *query["expect_top10"]} & {*found[:10]})
    say(f"relevance: {top_3} in the top 3, {top_10} in the top 10")
    return top_3, top_10


def measure_requests(phone: Phone, foods: int, figures: Figures) -> None:
    """Send one request at a time: each text, a barcode and one product, in turn."""
    created = phone.post("/v1/products", NEW_PRODUCT)
    if created.status_code != 201:
        raise SystemExit(f"POST /v1/products: {created}")
    product = f"/v1/products/{created.json()['id']}"
    codes = [with_check_digit(FIRST_CODE + place * foods // len(TEXTS)) for place in range(len(TEXTS))]
    if not fetch(phone, f"{FOODS}?barcode={codes[0]}"):
        raise SystemExit(f"There is no food with the barcode {codes[0]}")
    for number in range(-2, ROUNDS):
        for text, code in zip(TEXTS, codes, strict=True):
            barcode = f"{FOODS}?barcode={code}"
            for times, path in (
                (figures.searches, search_path(text)),
                (figures.barcodes, barcode),
                (figures.products, product),
            ):
                taken = time_of(phone, path)
                if number >= 0:
                    times.append(taken)
    say(f"one client: {summary(figures.searches)}; barcode {summary(figures.barcodes)}; {summary(figures.products)}")


def measure_sql(url: str, recorded: Path, figures: Figures) -> None:
    """Measure the SQL in a process of its own, which has the settings of the service."""
    environment = {**os.environ, **our_environment(url)}
    command = [str(OURS_BIN / "python"), "-m", "benchmarks.catalog_sql", str(recorded)]
    subprocess.run(command, cwd=ROOT, env=environment, check=True)
    measured = json.loads(recorded.read_text())
    figures.sql, figures.usual = measured["ours"], measured["usual"]
    for name, times in (("ours", figures.sql), *figures.usual.items()):
        say(f"SQL, {name}: {summary(times)}")


def measure_loads(url: str, service: Server, phone: Phone, recorded: Path, figures: Figures) -> None:
    """Send all texts over 16 connections to the service and to the bare WSGI function, in turn."""
    environment = our_environment(url, WEB_CONCURRENCY="2", RECORDED_SEARCHES=str(recorded))
    gunicorn = [str(OURS_BIN / "gunicorn"), "benchmarks.peer_catalog:application"]
    limit = Server("limit", gunicorn, environment, database=service.database)
    requests = [Request("GET", search_path(text), phone.token) for text in TEXTS]
    loads: dict[str, list[wrk.Load]] = {service.name: [], limit.name: []}
    with run_servers(limit):
        check_bodies(*(Phone(server.port, token=phone.token) for server in (service, limit)))
        for number in range(LOADS + 1):
            for server in (service, limit) if number % 2 else (limit, service):
                load = wrk.measure(server, requests, LOAD_SECONDS)
                if number:  # the first run warms up
                    loads[server.name].append(load)
    figures.rate, figures.limit = (statistics.median(load.rate for load in of_one) for of_one in loads.values())
    figures.cpu, figures.limit_cpu = (statistics.median(load.whole_cpu for load in of_one) for of_one in loads.values())
    say(f"16 connections: {figures.rate:.0f} of {figures.limit:.0f} requests per second")


def check_bodies(phone: Phone, other: Phone) -> None:
    """Exit if the bare function returns other foods than the service."""
    for text in TEXTS:
        if fetch(phone, search_path(text)) != fetch(other, search_path(text)):
            raise SystemExit(f"The bodies differ: {text}")


# --- the page -------------------------------------------------------------------------------------


def at(share: float, times: list[float]) -> float:
    """Return the time that this share of the requests took at most."""
    return sorted(times)[min(len(times) - 1, int(share * len(times)))]


def summary(times: list[float]) -> str:
    return f"p50 {at(0.5, times):.2f} ms, p99 {at(0.99, times):.2f} ms"


def rows_of(figures: Figures) -> list[tuple[str, str, str, bool]]:
    """Return what was measured, its value, its target, and whether it is reached."""
    csv, jsonl, floor = figures.csv, figures.jsonl, at(0.5, figures.products)
    memory = max(csv.memory, jsonl.memory)
    searches = [at(share, figures.searches) - floor for share in (0.5, 0.99)]
    share, readers = figures.rate / figures.limit, at(0.99, figures.importing) / at(0.99, figures.quiet)
    barcode = at(0.5, figures.barcodes) / floor
    rows = [
        ("import of the CSV, rows/s", f"{csv.rate:,.0f}", "≥ 20,000", csv.rate >= 20_000),
        ("import of the JSONL while others read, rows/s", f"{jsonl.rate:,.0f}", "≥ 5,000", jsonl.rate >= 5_000),
        ("most memory of an import, MB", f"{memory:.0f}", "≤ 200", memory <= 200),
        ("readers' p99 during the import, times that before it", f"{readers:.1f}", "≤ 3", readers <= 3),
        ("import of SR28 at the first start, s", f"{figures.sr28_seconds:.1f}", "≤ 10", figures.sr28_seconds <= 10),
        ("search, p50 over one product's p50, ms", f"{searches[0]:.2f}", "≤ 5", searches[0] <= 5),
        ("search, p99 over one product's p50, ms", f"{searches[1]:.2f}", "≤ 25", searches[1] <= 25),
        ("barcode, p50 by that of one product", f"{barcode:.2f}", "≤ 1.1", barcode <= 1.1),
        ("16 connections, share of a bare function's requests", f"{share:.0%}", "≥ 60 %", share >= 0.6),
    ]
    for name, times in figures.usual.items():
        for part, target in ((0.5, 10), (0.99, 50)):
            times_slower = at(part, times) / at(part, figures.sql)
            value = f"{times_slower:,.1f} ({at(part, times):,.2f} and {at(part, figures.sql):,.2f} ms)"
            rows.append(
                (f"SQL, time of {name} by ours, p{part * 100:.0f}", value, f"≥ {target}", times_slower >= target)
            )
    for name, (top_3, top_10), targets in (
        ("SR28 alone", figures.alone, (57, 60)),
        ("among all", figures.among_all, (56, 59)),
    ):
        is_reached = top_3 >= targets[0] and top_10 >= targets[1]
        value, target = f"{top_3} and {top_10}", f"≥ {targets[0]} and {targets[1]}"
        rows.append((f"relevance, {name}: top 3 and top 10 of {len(RELEVANCE)}", value, target, is_reached))
    return rows


def page(figures: dict[str, Figures], dumps: Dumps, load: str) -> str:
    csv, jsonl = dumps.rows["csv"], dumps.rows["jsonl"]
    lines = [
        "# The catalogue",
        "",
        f"Made by `python -m benchmarks.catalog` on {describe_machine()}. The load of the",
        f"machine was {load}.",
        "",
        f"The dumps have {dumps.distinct_words:,} distinct words, and {csv + jsonl:,} foods: {csv:,} in the CSV, and",
        f"{jsonl:,} in the JSONL, which is imported after the CSV, while a client searches. The rates of imports",
        "include all that they do at the end. The time of SQL is that of a search's statements without Python,",
        f"the median for each of {len(TEXTS)} texts.",
    ]
    for name, of_database in figures.items():
        lines += [
            "",
            f"## {name}, {of_database.foods:,} foods",
            "",
            "| what | value | target | |",
            "|---|--:|--:|---|",
            *(
                f"| {what} | {value} | {target} | {'ok' if is_reached else '**missed**'} |"
                for what, value, target, is_reached in rows_of(of_database)
            ),
            "",
            f"The process of the import takes {of_database.csv.cpu:.0f} µs of CPU time for a row of the CSV, and",
            f"{of_database.jsonl.cpu:.0f} µs for one of the JSONL. With 16 connections, a search takes",
            f"{of_database.cpu:.2f} ms with the database, and {of_database.limit_cpu:.2f} ms in the bare function.",
            "",
            "| ms | p50 | p99 | worst |",
            "|---|--:|--:|--:|",
            *(
                f"| {what} | {at(0.5, times):.2f} | {at(0.99, times):.2f} | {max(times):.2f} |"
                for what, times in requests_of(of_database)
            ),
        ]
    return "\n".join(lines) + "\n"


def requests_of(figures: Figures) -> list[tuple[str, list[float]]]:
    return [
        ("search, one client", figures.searches),
        ("barcode, one client", figures.barcodes),
        ("one product, one client", figures.products),
        ("search, before an import", figures.quiet),
        ("search, during an import", figures.importing),
        ("SQL of a search", figures.sql),
        *((f"SQL, {name}", times) for name, times in figures.usual.items()),
    ]


if __name__ == "__main__":
    main()
