"""Write the results of `make bench` to results.md and results.svg."""

import re
from collections import Counter
from html import escape
from pathlib import Path

from benchmarks.profiling import section
from tests.harness.machine import describe_machine
from tests.harness.servers import ROOT, say

HERE = Path(__file__).parent
NAMED = ("Django", "djangorestframework", "gunicorn", "orjson", "psycopg")
OF_PEER = ("fastapi", "SQLAlchemy", "asyncpg", "uvicorn", "uvloop")
PEER = "FastAPI (uvloop)"
SHOWN = {"ours": "CountOnMe", PEER: PEER, "limit": "the limit: bare WSGI"}

SETTING = f"""\
Each server has 2 worker processes and the same data in PostgreSQL on the same machine: 1,000 devices with 100 products
each (50 devices have 200), a portion for each product, and 30 days of 10 entries for 50 devices. wrk keeps 16
connections over loopback busy, with many tokens, which the servers have verified before. The servers take turns in
every round. A figure is the median of the rounds. All servers return the same JSON, which is checked first.

- **CountOnMe**: `gunicorn countonme.wsgi` with production settings.
- **{PEER}**: the same calls with FastAPI, SQLAlchemy's async ORM and asyncpg, under uvicorn with uvloop and
  httptools. It reads rows through the ORM and sums them in Python. It checks tokens with SHA-256, so that its
  registration needs no bcrypt. It has no `304` and sends the list again.
- **the limit**: one bare WSGI function under the same gunicorn, with the same queries, psycopg and orjson. Its
  registration has no rate limit.

CPU is the user and system time of a server's workers, and of the PostgreSQL processes that serve them. "By CPU"
compares the CPU time per request, of workers and PostgreSQL together, which doesn't depend on idle cores. "Busier
worker" is the share of the workers' CPU time that the busier of the two used: 50% means that they share the load
equally. The workers of `uvicorn --workers` accept connections from one socket, and in some runs one of them accepts all
connections. Here each worker has its own socket (`SO_REUSEPORT`)."""


def pins() -> dict[str, str]:
    """Return the pinned versions of the servers' packages."""
    ours, peer = (
        dict(re.findall(r"^([A-Za-z0-9_-]+)(?:\[\w+\])?==([0-9.]+)", (folder / "requirements.txt").read_text(), re.M))
        for folder in (ROOT, HERE)
    )
    return {name: ours[name.lower()] for name in NAMED} | {name: peer[name.lower()] for name in OF_PEER}


def write(results: list, shares: dict[str, Counter], *rest) -> None:
    (HERE / "results.md").write_text(page(results, shares, *rest))
    (HERE / "results.svg").write_text(chart(results))
    say("Written: benchmarks/results.md and benchmarks/results.svg")


def page(results: list, shares: dict[str, Counter], versions: dict[str, str], rounds: int, seconds: int) -> str:
    return "\n".join(
        [
            "# Results",
            "",
            f"Made by `BENCH_ROUNDS={rounds} BENCH_SECONDS={seconds} make bench` on {describe_machine()}.",
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
    lines = head("call", "requests per second", "× FastAPI", "by CPU", "of the limit", "by CPU", "p99 ÷ p50")
    for result in results:
        ours, peer, limit = (result.of_server[name] for name in SHOWN)
        lines.append(
            f"| {result.call.name} | {ours.rate:,.0f} "
            f"| {times(ours.rate / peer.rate)} | {times(peer.whole_cpu / ours.whole_cpu)} "
            f"| {ours.rate / limit.rate:.0%} | {limit.whole_cpu / ours.whole_cpu:.0%} | {ours.p99 / ours.p50:.1f} |"
        )
    return lines


def comparison(results: list) -> list[str]:
    """Return a table that compares this checkout with an earlier one. A ratio above 1 means that this one is faster."""
    lines = head("call", "now", "before", *(SHOWN[name] for name in (PEER, "limit")), "now ÷ before", "by CPU")
    for result in results:
        ours, before, peer, limit = (result.of_server[name] for name in ("ours", "before", PEER, "limit"))
        lines.append(
            f"| {result.call.name} | {ours.rate:,.0f} | {before.rate:,.0f} | {peer.rate:,.0f} | {limit.rate:,.0f} "
            f"| {ours.rate / before.rate:.2f} | {before.whole_cpu / ours.whole_cpu:.2f} |"
        )
    return lines


def table(result) -> list[str]:
    columns = ("requests per second", "p50, ms", "p99, ms", "of the limit", "CPU per request, ms", "in PostgreSQL, ms")
    lines = [f"## {result.call.name}", "", *head("", *columns, "busier worker", "RSS per worker, MB")]
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

WIDTH, LEFT, RIGHT, TOP = 830, 215, 160, 76
BAR, ROW = 14, 66
CLASSES = {"ours": "ours", PEER: "peer", "limit": "limit"}
STYLE = """\
<style>
  text { font: 12px system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; fill: #1f2328 }
  .back { fill: #ffffff; stroke: #d1d9e0 }
  .title { font-size: 16px; font-weight: 600 }
  .call { font-size: 13px }
  .quiet { fill: #59636e }
  .value { font-size: 11px; fill: #59636e }
  .strong { font-weight: 600; fill: #1a7f37 }
  .line { stroke: #d1d9e0 }
  .ours { fill: #1f883d } .peer { fill: #e08a3c } .limit { fill: #b1bac4 }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc }
    .back { fill: #0d1117; stroke: #3d444d }
    .quiet, .value { fill: #9198a1 }
    .strong { fill: #3fb950 }
    .line { stroke: #3d444d }
    .ours { fill: #2ea043 } .peer { fill: #d9822b } .limit { fill: #656c76 }
  }
</style>"""


def chart(results: list) -> str:
    """Return an SVG with a bar for each call and server. Its length is the number of requests per second."""
    most = max(load.rate for result in results for load in result.of_server.values())
    height = TOP + len(results) * ROW
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">',
        "<title>Requests per second: CountOnMe, FastAPI under uvloop, and a bare WSGI function</title>",
        STYLE,
        f'<rect class="back" x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1}" rx="6"/>',
        '<text class="title" x="20" y="32">Requests per second</text>',
        *legend(),
        text(WIDTH - 20, 56, "CountOnMe ÷ FastAPI", "quiet", "end"),
    ]
    for number, result in enumerate(results):
        parts += bars(result, TOP + number * ROW, (WIDTH - LEFT - RIGHT) / most)
    return "\n".join([*parts, "</svg>", ""])


def legend() -> list[str]:
    parts = []
    for name, x in zip(SHOWN, (20, 130, 270), strict=True):
        parts.append(f'<rect class="{CLASSES[name]}" x="{x}" y="46" width="12" height="12" rx="2"/>')
        parts.append(text(x + 18, 56, SHOWN[name]))
    return parts


def bars(result, top: int, scale: float) -> list[str]:
    middle = top + ROW / 2 + 4
    ratio = result.of_server["ours"].rate / result.of_server[PEER].rate
    parts = [
        f'<path class="line" d="M20 {top}.5H{WIDTH - 20}"/>',
        text(20, middle, result.call.name, "call"),
        text(WIDTH - 20, middle, f"{times(ratio)} ×", "call strong" if ratio >= 1 else "call quiet", "end"),
    ]
    for row, name in enumerate(SHOWN):
        rate = result.of_server[name].rate
        y, width = top + (ROW - len(SHOWN) * (BAR + 2)) / 2 + row * (BAR + 2) + 1, max(2.0, rate * scale)
        parts.append(
            f'<rect class="{CLASSES[name]}" x="{LEFT}" y="{y:.0f}" width="{width:.1f}" height="{BAR}" rx="2"/>'
            + text(LEFT + width + 6, y + BAR - 3, f"{rate:,.0f}", "value strong" if name == "ours" else "value")
        )
    return parts


def text(x: float, y: float, words: str, kind: str = "", anchor: str = "start") -> str:
    return f'<text class="{kind}" x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}">{escape(words)}</text>'
