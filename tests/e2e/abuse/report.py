"""Decide whether the run fails, and print the table."""

import math
from collections import Counter
from dataclasses import dataclass

from tests.e2e.abuse.honest import Sample

P95_SECONDS = 1.0
WORST_SECONDS = 5.0
MIN_REQUESTS = 100  # requests; with fewer, the p95 depends on a few of them
MEMORY_MB = 1500  # of 10⁶ bytes; of all workers together

HEADINGS = (
    "attack",
    "what was sent",
    "hostile requests",
    "their statuses",
    "honest requests",
    "p50 s",
    "p95 s",
    "worst s",
    "wrong statuses",
    "memory MB",
)


@dataclass
class Row:
    """The measurements of one attack."""

    attack: str
    sent: str
    hostile: Counter | None  # the number of hostile requests by status; None without an attack
    honest: list[Sample]
    memory: float  # MB: the peak of all workers together

    @property
    def seconds(self) -> list[float]:
        return [sample.seconds for sample in self.honest]

    @property
    def wrong(self) -> Counter:
        return Counter(sample.wrong for sample in self.honest if sample.wrong)

    def faults(self) -> list[str]:
        """Return why the run fails, if it does."""
        if not self.honest:
            return ["the honest devices sent nothing"]
        faults = [] if self.hostile is None or self.hostile.total() else ["no hostile request was sent"]
        if self.wrong:
            faults.append(f"honest requests got {counts(self.wrong)}")
        if len(self.honest) >= MIN_REQUESTS and (p95 := percentile(self.seconds, 95)) > P95_SECONDS:
            faults.append(f"p95 is {p95:.2f} s, more than {P95_SECONDS:g} s")
        if (worst := max(self.seconds)) > WORST_SECONDS:
            faults.append(f"the worst latency is {worst:.2f} s, more than {WORST_SECONDS:g} s")
        if self.memory > MEMORY_MB:
            faults.append(f"the workers held {self.memory:.0f} MB, more than {MEMORY_MB} MB")
        return faults

    def cells(self) -> tuple[str, ...]:
        p50, p95, worst = (f"{percentile(self.seconds, share):.3f}" if self.honest else "-" for share in (50, 95, 100))
        hostile = str(self.hostile.total()) if self.hostile is not None else "-"
        statuses = counts(self.hostile) if self.hostile else "-"
        wrong, memory = counts(self.wrong) or "-", f"{self.memory:.0f}"
        return self.attack, self.sent, hostile, statuses, str(len(self.honest)), p50, p95, worst, wrong, memory


def percentile(values: list[float], share: float) -> float:
    """Return the smallest of the values that is not exceeded by at least `share` percent of them."""
    return sorted(values)[max(0, math.ceil(len(values) * share / 100) - 1)]


def counts(of: Counter) -> str:
    """Return counts as a text, such as `12 × 200, 3 × 413`."""
    return ", ".join(f"{number} × {status}" for status, number in sorted(of.items()))


def table(rows: list[Row]) -> str:
    """Return a Markdown table with aligned columns."""
    lines = [HEADINGS, *(row.cells() for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADINGS))]
    texts = [" | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines]
    rule = "|".join("-" * (width + 2) for width in widths)
    return "\n".join([f"| {texts[0]} |", f"|{rule}|", *(f"| {text} |" for text in texts[1:])])


def failed(rows: list[Row]) -> list[str]:
    """Return the names of the attacks with faults, and `p95` if the p95 of the whole run is too high."""
    seconds = [each for row in rows for each in row.seconds]
    too_slow = bool(seconds) and percentile(seconds, 95) > P95_SECONDS
    return [row.attack for row in rows if row.faults()] + ["p95"] * too_slow


def exit_code(rows: list[Row]) -> int:
    return 1 if failed(rows) or not rows else 0
