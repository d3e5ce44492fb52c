"""Printed formulas and what the built modules count."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from upbench import conventions, units
from upbench.conventions import Breakdown
from upbench.papers.hosts import Stage
from upbench.papers.published import Published
from upbench.reproduce.arithmetic import evaluate
from upbench.reproduce.claims import stated_params
from upbench.reproduce.explanations import changed
from upbench.reproduce.hypotheses import Hypotheses

PerPixel = Callable[[str, Mapping[str, Any], int, int, float], Breakdown | None]
"""A function (upsampler, params, channels, guide channels, scale) that counts what one more low-resolution pixel costs."""
CHANNELS = 256
"""The channels at which formulas are compared."""
LAST_STEP, TOTAL = "III", "Total"
METRICS = {"params": "parameters", "flops_per_lr_pixel": "FLOPs"}
"""What the metrics of formulas count, in words."""
FORMULAS = (
    f"Formulas at {CHANNELS} channels, x2, beside what one low-resolution pixel costs in the built module, counted as the "
    "paper declares (weights only; a bilinear sample at 8). I: point selection, II: weight generation, III: feature "
    "assembly; a dash where our count cannot tell I from II."
)
"""The note under a table of formulas."""


@dataclass(frozen=True)
class Checked:
    """A formula with its value and our count, at `CHANNELS` channels and scale 2.

    Args:
        table: The id of the table.
        label: The label of the row.
        step: The step of upsampling that the formula is of.
        metric: What it counts.
        printed: The formula as printed.
        value: The value of the formula.
        ours: Our count; None where it cannot be told apart from that of another step.
    """

    table: str
    label: str
    step: str
    metric: str
    printed: str
    value: int
    ours: int | None

    @property
    def difference(self) -> str:
        """Return our count less the formula's value, as 'equal', '+2,304' or a dash."""
        return (
            units.DASH if self.ours is None else "equal" if self.ours == self.value else f"{self.ours - self.value:+,}"
        )


def check(tables: Iterable[Published], per_pixel: PerPixel, known: Hypotheses) -> list[Checked]:
    """Return every formula of some tables with its value and our count.

    A step is feature assembly (III), the whole (Total), or what comes before assembly.

    Args:
        tables: The tables.
        per_pixel: Counts what one low-resolution pixel costs.
        known: What the papers state.
    """
    checked = []
    for table in tables:
        for row in table.rows:
            if not row.formulas:
                continue
            names = _variables(table, row.upsampler)
            parts = per_pixel(row.upsampler, stated_params(table, row, known), CHANNELS, CHANNELS, 2)
            step = str(row.settings.get("step", TOTAL))
            first = any(r.upsampler == row.upsampler and r.settings.get("step") == "I" for r in table.rows)
            for metric, formula in row.formulas.items():
                ours = None if parts is None else _ours(_declared(parts, table, known), metric, step, first)
                checked.append(
                    Checked(
                        table.id,
                        row.label or row.upsampler,
                        step,
                        metric,
                        formula.printed,
                        evaluate(formula.expr, names),
                        ours,
                    )
                )
    return checked


def _variables(table: Published, upsampler: str) -> dict[str, int]:
    """The letters of a table's formulas for one upsampler."""
    letters = {"C": CHANNELS}
    for letter, value in table.variables.items():
        number = value.get(upsampler, value.get(upsampler.split("-")[0])) if isinstance(value, dict) else value
        if isinstance(number, int):
            letters[letter] = number
    return letters


def _declared(parts: Breakdown, table: Published, known: Hypotheses) -> Breakdown:
    """The parts under the way of counting that the paper declares."""
    declared = known.declares(table.paper)
    if declared is None or declared.way is None:
        return parts
    stage = Stage(
        name="", channels=CHANNELS, guide_channels=CHANNELS, height=1, width=1, scale=2, out_height=2, out_width=2
    )
    return changed(parts, known.change(declared.way), stage)


def _ours(parts: Breakdown, metric: str, step: str, has_selection: bool) -> int | None:
    """Our number for a step. Selection (I) and weighing (II) share convolutions, which a count cannot tell apart."""
    if metric == "params":
        total, last = conventions.params(parts, "P0"), 0
    else:
        total, last = conventions.flops(parts, "F4"), parts.assembly
    if step == TOTAL:
        return total
    if step == LAST_STEP:
        return last
    return None if has_selection else total - last
