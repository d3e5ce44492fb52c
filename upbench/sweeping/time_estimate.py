"""How long a sweep will take, before it is begun: what `sweep --dry-run` prints. An estimate, never a promise."""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from upbench import registry
from upbench.errors import UpbenchError
from upbench.measure import rounds
from upbench.records.record import Record
from upbench.specs import run_spec as spec
from upbench.specs.run_spec import RunSpec
from upbench.sweeping.expand import Cell, equivalents

LEAST_CALLS = rounds.ALONE.least * rounds.PER_ROUND
"""Calls that are timed however slow they are."""
COUNTING_S = 0.5
"""Building, counting operators and parameters: what a cell costs besides calls of the upsampler."""
COUNTING_CALLS = 10
"""Calls as long as a forward that happen outside warm-up and sampling: the first ones, those of the counters, one
forward for memory, and one forward with backward, which is about three."""


@dataclass(frozen=True)
class Estimate:
    """Seconds for the cells that are to be measured.

    Args:
        cells: How many those are; impossible ones and repetitions of an earlier spec cost nothing.
        unknown: How many of them no known record says anything of; for these the calls themselves are taken as free, so
            that the estimate is too low where the upsampler takes more than about a tenth of a second.
    """

    total_s: float
    cells: int
    unknown: int

    def describe(self) -> str:
        """Return what the estimate rests on, in a sentence."""
        if not self.cells:
            return "Nothing is left to measure."
        rest = "the budget of each cell, a full warm-up and the counting"
        if not self.unknown:
            return f"Estimated from {rest}, with calls as long as in the records there are of the same upsamplers."
        if self.unknown == self.cells:
            return f"Estimated from {rest} alone: there are no records of these upsamplers; slow ones take longer."
        return (
            f"Estimated from {rest}, with calls as long as in the records there are; for {self.unknown} of "
            f"{self.cells} cells there is no record, and slow ones of them take longer."
        )


def estimate(cells: Sequence[Cell], known: Iterable[Record] = ()) -> Estimate:
    """Estimate what measuring these cells one after another takes, in one process that is already up.

    Warm-up and sampling of each are assumed to take all the time they may, where both often end sooner; the calls are
    as long as in `known`. A record of the same spec counts most; else those of the same upsampler, mode and dtype whose
    work is closest, its time scaled by the work of a call (multiply-accumulates that the card knows, and values
    written). Nothing is added for compilation, for a worker that has to be started again, or for other programs.

    Args:
        cells: The cells that are still to be measured.
        known: Records of the machine at hand; those of another mislead.
    """
    book = _Book(known)
    again = equivalents(cells)
    total, count, unknown = 0.0, 0, 0
    for n, cell in enumerate(cells):
        if cell.spec is None or n in again:
            continue
        call_s = book.call_s(cell.spec)
        count += 1
        unknown += call_s is None
        total += _cell_s(cell.spec.measure.budget, call_s or 0.0)
    return Estimate(total, count, unknown)


def _cell_s(budget_s: float, call_s: float) -> float:
    warmup_s = rounds.warmup_s() + call_s
    return COUNTING_S + COUNTING_CALLS * call_s + warmup_s + max(budget_s, LEAST_CALLS * call_s)


class _Book:
    """The latencies of known records, to be looked up by spec."""

    def __init__(self, known: Iterable[Record]) -> None:
        self._same: dict[str, float] = {}
        self._alike: dict[tuple[str, str, str, str], list[tuple[int, float]]] = {}
        for record in known:
            run = _spec_of(record)
            if run is None or record.latency is None or not record.latency.samples_s:
                continue
            latency_s = median(record.latency.samples_s)
            self._same[_text(run)] = latency_s
            self._alike.setdefault(_kind(run), []).append((_work(run), latency_s))
        for pairs in self._alike.values():
            pairs.sort()

    def call_s(self, run: RunSpec) -> float | None:
        """Seconds of a call as far as the records know."""
        if (found := self._same.get(_text(run))) is not None:
            return found
        work, pairs = _work(run), self._alike.get(_kind(run), [])
        place = bisect.bisect_left(pairs, (work, 0.0))
        near = pairs[max(0, place - 1) : place + 1]
        if not near:
            return None
        closest, latency_s = min(near, key=lambda pair: max(pair[0] / work, work / pair[0]))
        return latency_s * work / closest


def _spec_of(record: Record) -> RunSpec | None:
    """The spec of a record, where this version can still read it."""
    if record.status != "ok":
        return None
    try:
        return spec.load(record.settings.given())
    except UpbenchError:
        return None


def _kind(run: RunSpec) -> tuple[str, str, str, str]:
    return run.upsampler, run.measure.mode, run.input.dtype, repr(run.model)


def _text(run: RunSpec) -> str:
    """What decides about the length of a call: all of a spec but how long it is sampled."""
    data: dict[str, Any] = run.to_dict()
    data["measure"].pop("budget")
    return repr(data)


def _work(run: RunSpec) -> int:
    """Multiply-accumulates of a call as far as the card knows them, and values of its output."""
    if run.model is not None:
        return 1  # a call is that of the model, whatever the upsampler
    setting = run.setting
    card = registry.get(run.upsampler)
    macs = card.count_macs(setting) if card.count_macs else None
    return card.output_channels(setting) * setting.high + (macs.conv + macs.gather if macs else 0)
