"""The results as a page and as a chart."""

import re
from collections import Counter
from html import escape
from pathlib import Path

from benchmarks.profiled import section
from tests.harness.machine import description
from tests.harness.servers import ROOT, say

HERE = Path(__file__).parent
NAMED = ("Django", "djangorestframework", "gunicorn", "orjson", "psycopg")
OF_PEER = ("fastapi", "SQLAlchemy", "asyncpg", "uvicorn", "uvloop")
PEER = "FastAPI (uvloop)"
SHOWN = {"ours": "CountOnMe", PEER: PEER, "limit": "the limit: bare WSGI"}
COLOURS = {"ours": "#1f7a4d", PEER: "#c2703d", "limit": "#9aa5b1"}

SETTING = f"""\
Each server has 2 worker processes and the same data in PostgreSQL on the same machine: 1,000 devices of 100 products
(50 of them of 200) with a portion each, and 30 days of 10 entries for 50 devices. wrk keeps 16 connections busy over
loopback, with many tokens, all of which have been checked before. The servers take turns in every round; a figure is
the median of the rounds. All return the same JSON, which is checked first.

- **CountOnMe**: `gunicorn countonme.wsgi` with production settings.
- **{PEER}**: the same calls with FastAPI, SQLAlchemy's async ORM and asyncpg, under uvicorn with uvloop and
  httptools. It reads rows through the ORM and sums them in Python. It checks tokens with SHA-256, so that its
  registration needs no bcrypt. It has no `304` and sends the list again.
- **the limit**: one bare WSGI function under the same gunicorn, with the same queries, psycopg and orjson. Its
  registration counts no attempts.

CPU is user and system time of a server's workers, and of the PostgreSQL processes that serve them. "By CPU" compares
the CPU of a request, of workers and PostgreSQL together: a core that idles makes no difference to it. "Busier worker"
is the share of the workers' CPU that the busier of the two used: 50% means that they share the load equally. The
workers of `uvicorn --workers` accept from one socket. Under uvloop too, one of them accepts all connections in some
runs. Here each has a socket of its own (`SO_REUSEPORT`)."""


def pins() -> dict[str, str]:
    """Return the pinned versions of what serves."""
    ours, peer = (
        dict(re.findall(r"^([A-Za-z0-9_-]+)(?:\[\w+\])?==([0-9.]+)", (folder / "requirements.txt").read_text(), re.M))
        for folder in (ROOT, HERE)
    )
    return {name: ours[name] for name in NAMED} | {name: peer[name] for name in OF_PEER}


def write(results: list, shares: dict[str, Counter], *rest) -> None:
    (HERE / "results.md").write_text(page(results, shares, *rest))
    (HERE / "results.svg").write_text(chart(results))
    say("Written: benchmarks/results.md and benchmarks/results.svg")


def page(results: list, shares: dict[str, Counter], versions: dict[str, str], rounds: int, seconds: int) -> str:
    return "\n".join(
        [
            "# Results",
            "",
            f"Made by `BENCH_ROUNDS={rounds} BENCH_SECONDS={seconds} make bench` on {description()}.",
            "",
            ", ".join(f"{name} {version}" for name, version in versions.items()) + ".",
            "",
            SETTING,
            "",
            *summary(results),
            "",
            *section(shares),
            *(line for result in results for line in table(result)),
        ]
    )


def summary(results: list) -> list[str]:
    lines = head("call", "requests a second", "× FastAPI", "by CPU", "of the limit", "of it by CPU", "p99 ÷ p50")
    for result in results:
        ours, peer, limit = (result.of_server[name] for name in SHOWN)
        lines.append(
            f"| {result.call.name} | {ours.rate:,.0f} "
            f"| {times(ours.rate / peer.rate)} | {times(peer.whole_cpu / ours.whole_cpu)} "
            f"| {ours.rate / limit.rate:.0%} | {limit.whole_cpu / ours.whole_cpu:.0%} | {ours.p99 / ours.p50:.1f} |"
        )
    return lines


def table(result) -> list[str]:
    columns = ("requests a second", "p50, ms", "p99, ms", "of the limit", "CPU a request, ms", "PostgreSQL's, ms")
    lines = [f"## {result.call.name}", "", *head("", *columns, "busier worker", "RSS a worker, MB")]
    for name, load in result.of_server.items():
        lines.append(
            f"| {SHOWN[name]} | {load.rate:,.0f} | {load.p50:.1f} | {load.p99:.1f} "
            f"| {load.rate / result.of_server['limit'].rate:.0%} "
            f"| {load.cpu:.2f} | {load.database_cpu:.2f} | {load.busier:.0%} | {load.rss:.0f} |"
        )
    return [*lines, ""]


def head(first: str, *columns: str) -> list[str]:
    return [f"| {' | '.join((first, *columns))} |", "|---" + "|--:" * len(columns) + "|"]


def times(ratio: float) -> str:
    return f"{ratio:.1f}" if ratio >= 1 else f"{ratio:.2f}"


# --- the chart ------------------------------------------------------------------------------------

WIDTH, LEFT, RIGHT, TOP = 760, 190, 70, 56
BAR, GAP = 13, 16
FONT = 'font-family="system-ui, sans-serif" font-size="12"'


def chart(results: list) -> str:
    """Return a bar for each call and server, as long as it answers requests in a second."""
    most = max(load.rate for result in results for load in result.of_server.values())
    height = TOP + len(results) * (len(SHOWN) * BAR + GAP) + 8
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" {FONT} role="img">',
        "<title>Requests a second: CountOnMe, FastAPI under uvloop, and a bare WSGI function</title>",
        '<rect width="100%" height="100%" rx="6" fill="#ffffff"/>',
        '<text x="16" y="24" font-size="14" font-weight="600" fill="#1b1f24">Requests a second</text>',
        *legend(),
    ]
    for number, result in enumerate(results):
        parts += bars(result, TOP + number * (len(SHOWN) * BAR + GAP), (WIDTH - LEFT - RIGHT) / most)
    return "\n".join([*parts, "</svg>", ""])


def legend() -> list[str]:
    parts = []
    for name, x in zip(COLOURS, (LEFT, LEFT + 105, LEFT + 265), strict=True):
        parts.append(f'<rect x="{x}" y="14" width="12" height="12" rx="2" fill="{COLOURS[name]}"/>')
        parts.append(f'<text x="{x + 18}" y="24" fill="#1b1f24">{SHOWN[name]}</text>')
    return parts


def bars(result, top: int, scale: float) -> list[str]:
    middle = top + len(SHOWN) / 2 * BAR + 4
    parts = [f'<text x="{LEFT - 10}" y="{middle}" text-anchor="end" fill="#1b1f24">{escape(result.call.name)}</text>']
    for row, (name, load) in enumerate(result.of_server.items()):
        y, width = top + row * BAR, max(1.0, load.rate * scale)
        parts.append(
            f'<rect x="{LEFT}" y="{y}" width="{width:.1f}" height="{BAR - 2}" rx="2" fill="{COLOURS[name]}"/>'
            f'<text x="{LEFT + width + 5:.1f}" y="{y + BAR - 3}" font-size="10" fill="#57606a">{load.rate:,.0f}</text>'
        )
    return parts
