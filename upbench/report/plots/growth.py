"""Power laws of latency against size, the sizes at which they cross, and both as tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from upbench import units
from upbench.analysis import power_law
from upbench.analysis.power_law import Crossing, PowerLaw
from upbench.report.formats.table import Table
from upbench.report.plots.series import Line

NO_CROSSING = "no two fits cross, up to a factor of 4 beyond the measured sizes"
"""The sentence that stands for the table of crossovers where there are none."""


@dataclass(frozen=True)
class Growth:
    """A line and its power law, which is None where the line has fewer than two sizes."""

    line: Line
    law: PowerLaw | None

    @property
    def legend(self) -> str:
        """Return the name of the line with its exponent."""
        return f"{self.line.name}: {exponent(self.law)}"

    @property
    def brief(self) -> str:
        """Return the name of the line with its exponent alone."""
        return f"{self.line.name} {units.DASH if self.law is None else f'{self.law.exponent:.2f}'}"


@dataclass(frozen=True)
class Crossover:
    """Two lines whose laws meet.

    Args:
        below: The line that is faster at fewer output pixels than `at.x`.
        above: The line that is faster at more.
        at: The point where the laws meet, in output pixels and seconds.
        measured: The sizes between which the measured order changes; None where it does not.
    """

    below: str
    above: str
    at: Crossing
    measured: tuple[int, int] | None


def fit(lines: Sequence[Line]) -> list[Growth]:
    """Return every line with its law."""
    return [
        Growth(line, power_law.power_law([s.at for s in line.samples], [s.point.value for s in line.samples]))
        for line in lines
    ]


def crossovers(growths: Sequence[Growth]) -> list[Crossover]:
    """Return every pair whose laws meet within the sizes of both, or a factor of 4 beyond; the smallest size first."""
    crossed = []
    for n, a in enumerate(growths):
        for b in growths[n + 1 :]:
            if a.law is None or b.law is None or (at := power_law.crossing(a.law, b.law)) is None:
                continue
            # The steeper one is the lower one below the crossing.
            below, above = (a, b) if a.law.exponent > b.law.exponent else (b, a)
            crossed.append(Crossover(below.line.name, above.line.name, at, _order_changes(below.line, above.line)))
    return sorted(crossed, key=lambda c: (c.at.x, c.below, c.above))


def exponent(law: PowerLaw | None) -> str:
    """Return an exponent as '0.98 [0.91, 1.05]', and without the interval where there are two sizes only."""
    if law is None:
        return units.DASH
    inner = "" if law.low is None or law.high is None else f" [{law.low:.2f}, {law.high:.2f}]"
    return f"{law.exponent:.2f}{inner}"


def side(pixels: float) -> str:
    """Return a number of output pixels with the side of a square of as many."""
    return f"{units.count(round(pixels))} ({round(pixels**0.5)}x{round(pixels**0.5)})"


def laws_table(growths: Sequence[Growth], title: str) -> Table:
    """Return the table of the exponents."""
    heads = ["Upsampler", "Exponent", "95 % interval", "Sizes", "From", "To"]
    rows: list[list[str]] = []
    raw: list[list[Any]] = []
    for growth in growths:
        law = growth.law
        if law is None:
            rows.append(
                [growth.line.name, units.DASH, units.DASH, str(len(growth.line.samples)), units.DASH, units.DASH]
            )
            raw.append([growth.line.name, None, None, None, len(growth.line.samples), None, None])
            continue
        known = law.low is not None and law.high is not None
        interval = f"{law.low:.2f}-{law.high:.2f}" if known else units.DASH
        rows.append(
            [growth.line.name, f"{law.exponent:.2f}", interval, str(law.sizes), side(law.first), side(law.last)]
        )
        raw.append([growth.line.name, law.exponent, law.low, law.high, law.sizes, law.first, law.last])
    keys = ["upsampler", "exponent", "exponent_low", "exponent_high", "sizes", "first_pixels", "last_pixels"]
    note = "Latency = constant x (output pixels of the batch) ^ exponent, by least squares in logarithms."
    return Table(title, heads, rows, [False, True, True, True, True, True], keys, raw, [note])


def crossings_table(crossed: Sequence[Crossover]) -> Table:
    """Return the table of the sizes at which two laws cross."""
    rows, raw = [], []
    for c in crossed:
        order = f"{side(c.measured[0])} to {side(c.measured[1])}" if c.measured else "no"
        rows.append([c.below, c.above, side(c.at.x), "yes" if c.at.inside else "extrapolated", order])
        raw.append([c.below, c.above, c.at.x, c.at.inside, *(c.measured or (None, None))])
    keys = ["faster_below", "faster_above", "crossover_pixels", "inside", "order_changes_from", "order_changes_to"]
    heads = ["Faster below", "Faster above", "Crossover", "Inside", "Measured order changes"]
    note = "Crossover: output pixels at which two fits meet, up to a factor of 4 beyond the measured sizes."
    return Table("Crossover sizes", heads, rows, [False, False, True, False, False], keys, raw, [note])


def _order_changes(below: Line, above: Line) -> tuple[int, int] | None:
    """Neighbouring sizes between which `below` stops being the faster one, as measured."""
    above_s = {s.at: s.point.value for s in above.samples}
    common = [(s.at, s.point.value - above_s[s.at]) for s in below.samples if s.at in above_s]
    changes = [(x0, x1) for (x0, d0), (x1, d1) in pairwise(common) if d0 < 0 <= d1]
    return changes[-1] if changes else None
