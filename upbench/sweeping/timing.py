"""The timing of a sweep: passes over the cells that were counted, and the records that come of them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from upbench.analysis import conclusions, passes
from upbench.analysis.passes import Levels
from upbench.records import pass_lines, pass_store
from upbench.records.pass_lines import Identity
from upbench.records.pass_store import CellTimes, CountedCell, Group
from upbench.records.record import Latency, PassedRatio, Passes, Record, Status
from upbench.sweeping.expand import Cell, SweepSpec
from upbench.sweeping.jobs import Source
from upbench.sweeping.lanes import Interrupts
from upbench.sweeping.pass_source import Member, PassSource
from upbench.sweeping.reference import of_base
from upbench.sweeping.schedule import Failure, ReferenceFailed, Schedule, Weight, bridge

TWIN = -1
"""The number of the hidden second build of the reference."""
BRIDGE = -2
"""The number of the first finished cell that is timed again; others have the numbers below."""
INTERRUPTED = "interrupted"
"""Why sampling stopped, of a cell that is to have more passes."""
OVERHEAD = 1.5
"""What passes may take, as a multiple of the budget of sampling: building and warming up are in it."""


class Limits(Protocol):
    """What a call may take, and what cells are set against; see `runner.Options`."""

    @property
    def timeout_s(self) -> float | None:
        """Seconds that a cell may take; None for no limit."""

    @property
    def memory_bytes(self) -> int | None:
        """Bytes that a cell may take on a CPU; None for most of what is free."""

    @property
    def reference(self) -> int | None:
        """Number of the cell that the others are set against; None to leave it to the sweep."""


class Run(Protocol):
    """The run of a sweep, as its timing needs it; see `runner.Run`."""

    @property
    def cells(self) -> Sequence[Cell]:
        """The cells of the sweep."""

    @property
    def sweep(self) -> SweepSpec:
        """The sweep that the cells are of."""

    @property
    def options(self) -> Limits:
        """The limits of the run."""

    @property
    def interrupts(self) -> Interrupts:
        """How often Ctrl-C was pressed."""

    def say(self, device: str, what: str, part: float, left_s: float | None) -> None:
        """Say what a device does, the part of everything that is done, and the seconds that are left."""

    @property
    def notice(self) -> Callable[[str], None]:
        """Called with a sentence for the user."""

    def do(self, numbers: Sequence[int], source: Source) -> None:
        """Do the jobs of a source on the devices of some cells.

        Args:
            numbers: Numbers of the cells.
            source: Gives the jobs and hears of them.
        """

    def write(self, n: int, record: Record) -> None:
        """Write the record of a cell that was timed.

        Args:
            n: Number of the cell.
            record: Its record.
        """

    def failed(self, n: int, device: str, status: Status, error: str) -> None:
        """Write that a cell failed.

        Args:
            n: Number of the cell.
            device: Where it ran, by the id of its environment.
            status: Its status.
            error: A sentence that says why.
        """

    def devices(self, n: int) -> list[str]:
        """Return the devices that a cell can be measured on."""


@dataclass
class Timing:
    """The passes over the cells of one kind of device.

    Args:
        run: What they are a part of.
        identities: The cells that take part, by their numbers, each under the identity that the passes file knows.
        due: Those that are to have a record; the others are finished.
        counted: Where that file has the records without latency.
        printed: By reference, the passes of a finished record: what the reference took is printed as it is there.
        file: The passes file.
    """

    run: Run
    identities: Mapping[int, Identity]
    due: set[int]
    counted: Mapping[Identity, CountedCell]
    printed: Mapping[Identity, Passes]
    file: Path
    series: int = 0

    def go(self) -> None:
        """Time what is not timed yet, and write the records."""
        numbers = list(self.identities)
        reference = self._reference()
        members = {n: self._member(n) for n in numbers if n != reference}
        base = self._member(reference)
        members[TWIN] = Member(base.key, base.axes, base.spec, "twin", f"{base.label} (twin)")
        group = self._group(base)
        if again := {n for n in members.keys() - self.due - {TWIN} if not self._passes(group, n, members[n])}:
            self.due |= again
            cells = "1 finished cell is" if len(again) == 1 else f"{len(again)} finished cells are"
            self.run.notice(f"{base.label} is a new reference; {cells} timed again beside it")
        bridges = self._bridges(members, group)
        members |= {n: replace(self._member(cell), role="bridge") for n, cell in bridges.items()}
        # A twin of another day says nothing of this one, where cells are added.
        done = {(n, p) for n, one in members.items() if n >= 0 or not bridges for p in self._passes(group, n, one)}
        weights = {n: self._weight(reference if n == TWIN else bridges.get(n, n)) for n in members}
        planned = max([conclusions.PASSES, *(p + 1 for _, p in done)])
        schedule = Schedule(weights, self.run.sweep.name, planned, done, self.run.options.memory_bytes)
        budget_s = base.spec["measure"]["budget"]
        begun = schedule.part_done() < 1  # else only the records were lost
        source = PassSource(
            schedule,
            members,
            base,
            self.file,
            f"{time.time_ns():x}-{os.getpid()}",
            budget_s / conclusions.MOST_PASSES,
            self.run.options.timeout_s,
            self.run.options.memory_bytes,
            more=lambda passes: begun and self._more(base, passes, source.spent_s, OVERHEAD * budget_s * len(members)),
            progress=self.run.say,
            expected_s=budget_s * len(members),
        )
        try:
            self.run.do([reference], source)
        except ReferenceFailed as error:
            self.run.notice(f"{base.label}, which the others are set against, cannot be timed: {error}")
            for n in (reference, *(n for n in members if n >= 0 and schedule.passes_of(n) < passes.ENOUGH_PASSES)):
                self._fail(n, Failure(error.status, str(error), 0))
            return
        self._write(reference, members, base, schedule, list(bridges.values()))

    def _bridges(self, members: Mapping[int, Member], group: Group) -> dict[int, int]:
        """The finished cells that are timed again where this run adds cells to them, by the numbers that they have then."""
        finished = members.keys() - self.due - {TWIN}
        adds = any(len(self._passes(group, n, members[n])) < conclusions.PASSES for n in members.keys() & self.due)
        chosen = bridge(finished, self.run.sweep.name) if adds else []
        return {BRIDGE - at: n for at, n in enumerate(chosen)}

    def _reference(self) -> int:
        """The cell that was asked for, else the one that the file has already, else that of the sweep's base."""
        asked = self.run.options.reference
        if asked is not None and asked in self.identities:
            return asked
        if asked is not None and self._shares_allocator(asked):
            self.run.notice(f"{self.run.cells[asked].label}, the --reference, was not counted; another cell is it")
        before = pass_store.index(self.file).groups
        known = {identity: n for n, identity in self.identities.items()}
        if had := [known[identity] for identity in before if identity in known]:
            return had[-1]
        return of_base(list(self.identities), self.run.cells, self.run.sweep)

    def _shares_allocator(self, n: int) -> bool:
        """Whether a cell has the allocator of these, and could be their reference."""
        one, first = (self.run.cells[at].spec for at in (n, next(iter(self.identities))))
        return one is not None and first is not None and one.measure.allocator == first.measure.allocator

    def _weight(self, n: int) -> Weight:
        counted = self.counted[self.identities[n]]
        return Weight(counted.call_s, counted.held_bytes)

    def _member(self, n: int) -> Member:
        cell, (key, _) = self.run.cells[n], self.identities[n]
        assert cell.spec is not None, "impossible cells are never measured"
        return Member(key, cell.axes, cell.spec.to_dict(), label=cell.label or cell.spec.label)

    def _group(self, base: Member) -> Group:
        key = pass_lines.identity(base.key, base.axes)
        return pass_store.index(self.file).groups.get(key, Group(key))

    def _passes(self, group: Group, n: int, member: Member) -> Sequence[int]:
        if n == TWIN:
            return list(group.twin)
        at = group.numbers.get(pass_lines.identity(member.key, member.axes))
        return [] if at is None else list(group.entries[at])

    def _more(self, base: Member, done: int, spent_s: float, budget_s: float) -> bool:
        group = self._group(base)
        levels = group.levels()
        ratios = [levels.ratio(n) for n in range(len(group.entries))]
        widths = [None if ratio is None else ratio.half_width for ratio in ratios]
        return conclusions.wants_more_passes(widths, done, spent_s, budget_s)

    def _write(
        self, reference: int, members: dict[int, Member], base: Member, schedule: Schedule, bridges: Sequence[int]
    ) -> None:
        """Write the records of all cells that have passes enough, and of those that failed."""
        group = self._group(base)
        levels = group.levels()
        resolution = group.resolution(levels)
        apart = self._apart(group, levels, resolution, bridges)
        self.series = self._series(group, new=bool(apart))
        for n in sorted(({reference, *members} - {TWIN}) & self.due):
            failure = schedule.failed.get(n)
            found = pass_store.cell_times(self.file, group, self.identities[n], levels)
            if found is None or len(found.passes) < passes.ENOUGH_PASSES:
                if failure:
                    self._fail(n, failure)
                continue
            counted = pass_store.counted_record(self.file, self.counted[self.identities[n]])
            lost = [f"it failed in pass {failure.pass_number + 1}: {failure.error}"] if failure else []
            where = counted.environment
            update = {
                "environment": where.model_copy(update={"load": group.load}) if group.load is not None else where,
                "latency": self._latency(n, found, group, schedule),
                "noise_floor": resolution,
                "warnings": [*counted.warnings, *lost, *apart],
            }
            self.run.write(n, counted.model_copy(update=update))

    def _apart(self, group: Group, levels: Levels, resolution: float | None, bridges: Sequence[int]) -> list[str]:
        """A sentence for each finished cell whose ratio is another one now than it was before."""
        both = [(n, group.left_its_interval(self.identities[n], levels, resolution)) for n in bridges]
        return [
            f"cells were added later, when {self.run.cells[n].label} took {pair[1]:.3g} times the reference; before, it was "
            f"{pair[0]:.3g}, and the resolution does not explain that"
            for n, pair in both
            if pair
        ]

    def _series(self, group: Group, new: bool) -> int:
        """The number of the rows that this run writes: that of the finished ones, or the next where those do not compare."""
        before = self.printed.get(group.reference)
        return (before.series if before else 0) + new

    def _latency(self, n: int, found: CellTimes, group: Group, schedule: Schedule) -> Latency:
        cell = self.run.cells[n].spec
        assert cell is not None, "impossible cells are never measured"
        short = len(found.passes) < conclusions.PASSES and n not in schedule.failed
        return Latency(
            mode=cell.measure.mode,
            clock="thread CPU time, warm caches" if found.clock == "cpu" else "perf_counter, warm caches",
            first_call_s=self.counted[self.identities[n]].first_call_s,
            warmup_calls=3 * len(found.passes),
            stable=True,
            calls_per_sample=1,
            samples_per_round=pass_lines.PER_ROUND,
            stopped=INTERRUPTED if short else "budget",
            discarded_rounds=0,
            passes=self._passes_of(found, group, schedule.passes),
            samples_s=found.samples_s,
        )

    def _passes_of(self, found: CellTimes, group: Group, planned: int) -> Passes:
        times, ratio, before = group.reference_times(), found.ratio, self.printed.get(group.reference)
        return Passes(
            reference=list(group.reference),
            reference_s=before.reference_s if before else times.median_s,
            reference_low_s=before.reference_low_s if before else times.low_s,
            reference_high_s=before.reference_high_s if before else times.high_s,
            planned=planned,
            numbers=found.passes,
            blocks=found.blocks,
            levels=found.levels,
            rounds=found.rounds_of_pass,
            ratio=None if ratio is None else PassedRatio(value=ratio.value, low=ratio.low, high=ratio.high),
            clock=found.clock,
            share=found.share,
            faults=found.faults,
            allocator="/".join(found.allocators),
            series=self.series,
        )

    def _fail(self, n: int, failure: Failure) -> None:
        self.run.failed(n, self.run.devices(n)[0], failure.status, failure.error)
