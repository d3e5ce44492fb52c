"""How long a sweep will take, before it is begun: what `sweep --dry-run` prints. An estimate, never a promise."""

from __future__ import annotations

import bisect
import math
import os
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from upbench import registry
from upbench.analysis import conclusions
from upbench.errors import UpbenchError
from upbench.measure import blocks
from upbench.records.record import Record
from upbench.specs import run_spec as spec
from upbench.specs.run_spec import RunSpec
from upbench.sweeping.expand import Cell, equivalents
from upbench.sweeping.schedule import Weight, cut
from upbench.sweeping.timing import OVERHEAD

START_S = 6.0
"""A worker that has imported torch and what counters need, and the quick calibration of a machine that has none."""
COUNTING_S = 0.5
"""Building, counting operators and parameters: what a cell costs besides calls of the upsampler."""
COUNTING_CALLS = 10
"""Calls as long as a forward while a cell is counted: the first ones, those of the counters, one forward for memory, and one
forward with backward, which is about three."""
BUILD_S = 0.02
"""What a cell costs in each block besides its calls."""
FAST_MACS, FAST_VALUES = 1e11, 2e9
"""Multiply-accumulates and written values a second of one thread of a fast processor."""
TRAINING_CALLS = 3
"""Forwards that a call with its backward is as long as."""
TWIN = -1
"""The number of the second build of the reference among the cells of a pass."""


@dataclass(frozen=True)
class Estimate:
    """Seconds for the cells that are to be measured.

    Args:
        total_s: The seconds.
        cells: How many those are; impossible ones and repetitions of an earlier spec cost nothing.
        unknown: How many of them no known record says anything of; for these calls are taken to be as short as on a fast
            processor, so that the estimate is a lower bound.
    """

    total_s: float
    cells: int
    unknown: int

    @property
    def about(self) -> str:
        """How the seconds are to be read: "about", or "at least" where calls are unknown."""
        return "at least" if self.unknown else "about"

    def describe(self) -> str:
        """Return what the estimate rests on, in a sentence."""
        if not self.cells:
            return "Nothing is left to measure."
        rest = "start, counting, warm-ups and passes"
        if not self.unknown:
            return f"Estimated from {rest}, with calls as long as in the records there are of the same upsamplers."
        which = "these upsamplers" if self.unknown == self.cells else f"{self.unknown} of {self.cells} cells"
        return f"Estimated from {rest}; there are no records of {which}, whose calls are taken to be those of a fast processor."


def estimate(
    cells: Sequence[Cell],
    known: Iterable[Record] = (),
    devices: int = 1,
    on_cpu: Collection[str] = ("cpu", "auto"),
) -> Estimate:
    """Estimate what measuring these cells takes on a machine that does nothing else.

    Calls are as long as in `known`: a record of the same spec counts most; else those of the same upsampler, mode and dtype
    whose work is closest, its time scaled by the work of a call (multiply-accumulates that the card knows, and values
    written). Nothing is added for compilation, or for a worker that has to be started again.

    Args:
        cells: The cells that are still to be measured.
        known: Records of the machine at hand; those of another mislead.
        devices: Number of devices that measure at a time.
        on_cpu: The devices of specs that are processors; of a call on another nothing is known without a record.
    """
    book = _Book(known)
    again = equivalents(cells)
    runs = [cell.spec for n, cell in enumerate(cells) if cell.spec is not None and n not in again]
    if not runs:
        return Estimate(0.0, 0, 0)
    found = [book.call_s(run) for run in runs]
    calls = [
        call_s if call_s is not None else _least_call_s(run) if run.measure.device in on_cpu else 0.0
        for run, call_s in zip(runs, found, strict=True)
    ]
    counting_s = sum(COUNTING_S + COUNTING_CALLS * call_s for call_s in calls)
    together: dict[tuple[str, str], list[int]] = {}
    for n, run in enumerate(runs):
        together.setdefault((run.measure.device, run.measure.allocator), []).append(n)
    passes_s = sum(
        _passes_s([calls[n] for n in members], runs[members[0]].measure.budget) for members in together.values()
    )
    return Estimate(START_S + (counting_s + passes_s) / devices, len(runs), found.count(None))


def busy_factor(load: float, threads: int, cores: int) -> float:
    """Return how many times as long a measurement takes on the wall while other programs compute.

    Args:
        load: How many of their threads want to run, on average.
        threads: Number of threads of the measurement.
        cores: Number of cores.
    """
    return max(1.0, (load + threads) / cores)


def _passes_s(calls: Sequence[float], budget_s: float) -> float:
    """Return the seconds of all passes over cells with one reference, the first of them.

    As many are taken as the budget holds, at least five and at most ten; within that the noise decides, and the middle is
    taken.

    Args:
        calls: Seconds of a call of each.
        budget_s: Seconds of sampling for each.
    """
    cells = {TWIN: Weight(calls[0]), **{n: Weight(call_s) for n, call_s in enumerate(calls) if n}}
    blocks = cut(cells.keys(), cells, "", 0)
    pass_s = sum(
        _block_s([calls[0], *(cells[n].call_s for n in block)], budget_s / conclusions.MOST_PASSES) for block in blocks
    )
    held = int(OVERHEAD * budget_s * len(cells) / pass_s)
    most = min(max(held, conclusions.PASSES), conclusions.MOST_PASSES)
    return pass_s * math.sqrt(conclusions.PASSES * most)


def _block_s(calls: Sequence[float], budget_s: float) -> float:
    """Return the seconds of a block of a pass.

    Args:
        calls: Seconds of a call of the reference and of each cell.
        budget_s: Seconds of sampling for each cell.
    """
    warm_ups = sum(call_s * (1 if call_s > blocks.SLOW_CALL_S else blocks.WARMUP_CALLS) for call_s in calls)
    round_s = sum(blocks.PER_ROUND * max(call_s, blocks.SAMPLE_S) for call_s in calls)
    least = blocks.MIN_SLOW_ROUNDS if round_s > blocks.SLOW_ROUND_S else blocks.MIN_ROUNDS
    sampling = max(budget_s * (len(calls) - 1), least * round_s)
    return BUILD_S * len(calls) + sum(calls) + warm_ups + sampling


def _least_call_s(run: RunSpec) -> float:
    """Return the seconds of a call on a fast processor; none of a whole model, of which nothing is known."""
    if run.model is not None:
        return 0.0
    setting, macs = run.setting, _macs(run)
    forward_s = macs / FAST_MACS + run.card.output_channels(setting) * setting.high / FAST_VALUES
    trains = run.measure.mode in ("training", "training-backward")
    return forward_s * (TRAINING_CALLS if trains else 1) / (run.measure.threads or os.cpu_count() or 1)


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
    return run.card.output_channels(run.setting) * run.setting.high + _macs(run)


def _macs(run: RunSpec) -> int:
    """Multiply-accumulates of a call as far as the card knows them."""
    card = registry.get(run.upsampler)
    macs = card.count_macs(run.setting) if card.count_macs else None
    return macs.conv + macs.gather if macs else 0
