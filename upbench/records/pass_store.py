"""Passes files: one JSON line for each cell that was counted and each block of a pass, written when it is measured.

All that an unfinished sweep knows is here.
A file is read line by line into an index of levels, which stays small however many samples there are. Records of timed
cells are derived from it. A line that is torn or foreign is named and skipped, and costs one block in one pass.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from upbench.analysis import conclusions, passes
from upbench.analysis.conclusions import ReferenceTimes
from upbench.analysis.passes import Levels, PassRatio
from upbench.errors import StoreError
from upbench.records import json_lines
from upbench.records.pass_lines import CLOCKS, PER_ROUND, BlockLine, Clock, Counted, Identity, Timed, from_json
from upbench.records.record import Record


class Entry(NamedTuple):
    """A cell in a pass.

    Args:
        cpu_level, wall_level: Its level by CPU time and by wall time.
        clock: The clock that its samples show.
        block: Unique in the file.
        offset: Where its line begins.
    """

    cpu_level: float
    wall_level: float
    clock: Clock
    block: int
    offset: int


@dataclass
class Group:
    """All cells that were timed against one reference; those of another machine or version have another one.

    Args:
        entries: For each cell, in the order of their first lines, its passes.
        reference_clocks: What the reference's own samples said in each block.
        reference_medians: Of each block its pass, and the medians by CPU and by wall time.
    """

    reference: Identity
    numbers: dict[Identity, int] = field(default_factory=dict)
    entries: list[dict[int, Entry]] = field(default_factory=list)
    twin: dict[int, Entry] = field(default_factory=dict)
    bridges: dict[Identity, dict[int, Entry]] = field(default_factory=dict)
    reference_offsets: dict[int, int] = field(default_factory=dict)
    reference_medians: list[tuple[int, float, float]] = field(default_factory=list)
    blocks_on_wall: int = 0
    loads: list[float] = field(default_factory=list)

    @property
    def reference_clock(self) -> Clock:
        """Wall time when most blocks say so: then every ratio is one of wall times."""
        return "wall" if self.blocks_on_wall * 2 > len(self.reference_medians) else "cpu"

    def clock(self, entries: Mapping[int, Entry]) -> Clock:
        """Return the clock of a cell, settled once for all passes: wall time when the reference or most say so."""
        on_wall = sum(entry.clock == "wall" for entry in entries.values())
        return "wall" if self.reference_clock == "wall" or on_wall * 2 > len(entries) else "cpu"

    @property
    def load(self) -> float | None:
        """Return the median load of the machine over the blocks; None where the system does not say it."""
        return float(np.median(self.loads)) if self.loads else None

    def reference_times(self) -> ReferenceTimes:
        """Seconds of the reference over all passes."""
        column = 1 if self.reference_clock == "cpu" else 2
        by_pass: dict[int, list[float]] = {}
        for medians in self.reference_medians:
            by_pass.setdefault(medians[0], []).append(medians[column])
        return conclusions.reference_times(by_pass.values())

    def levels(self) -> Levels:
        """Return the levels of the cells by their numbers, then of the twin, and of the reference as the last row."""
        rows = [*self.entries, self.twin]
        width = 1 + max((number for row in rows for number in row), default=0)
        values = np.full((len(rows) + 1, width), np.nan)
        blocks = np.zeros(values.shape, dtype=np.int64)
        for n, row in enumerate(rows):
            on_cpu = self.clock(row) == "cpu"
            for number, entry in row.items():
                values[n, number] = entry.cpu_level if on_cpu else entry.wall_level
                blocks[n, number] = entry.block
        return Levels(values, blocks, len(rows))

    def done(self) -> set[tuple[int, int]]:
        """Return the (cell, pass) that need no measuring, the cell by its number."""
        return {(n, number) for n, row in enumerate(self.entries) for number in row}

    def resolution(self, levels: Levels) -> float | None:
        """Return what the twin shows: the smallest difference that these passes resolve."""
        return conclusions.resolution(levels.ratio(len(self.entries)))

    def left_its_interval(self, cell: Identity, levels: Levels, resolution: float | None) -> tuple[float, float] | None:
        """Return the two ratios of a cell that was timed again, where the second does not continue the first.

        Args:
            cell: A finished cell that was timed again.
            levels: Of the group.
            resolution: The smallest difference that the passes resolve, as a part of 1.

        Returns:
            Both; None where the second lies in the interval of the first, widened by the resolution.
        """
        again, at = self.bridges.get(cell), self.numbers.get(cell)
        before = None if at is None else levels.ratio(at)
        if not again or before is None:
            return None
        on_cpu = self.clock(again) == "cpu"
        logs = [entry.cpu_level if on_cpu else entry.wall_level for entry in again.values()]
        now = PassRatio(float(np.exp(np.mean(logs))), None, None, len(logs))
        return None if conclusions.continues(before, now, resolution or 0.0) else (before.value, now.value)


class CountedCell(NamedTuple):
    """Where the line of a cell that was counted begins, and what it says of its calls; see `Counted`."""

    offset: int
    call_s: float
    first_call_s: float
    held_bytes: int


@dataclass
class PassIndex:
    """What a passes file has, without its samples.

    Args:
        groups: By the identity of their reference.
    """

    counted: dict[Identity, CountedCell] = field(default_factory=dict)
    groups: dict[Identity, Group] = field(default_factory=dict)
    failures: dict[Identity, tuple[str, str | None]] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)


def index(path: Path) -> PassIndex:
    """Read a passes file, one line in memory at a time; an empty index when there is no file.

    Raises:
        StoreError: The file itself cannot be read.
    """
    found = PassIndex()
    for number, raw in enumerate(json_lines.scan(path)):
        try:
            line = from_json(raw.text, f"passes file {path}, line {raw.number},")
        except StoreError as error:
            found.skipped.append(f"{error}; the line is skipped, and stays in the file")
            continue
        if isinstance(line, Counted):
            found.counted[line.identity] = CountedCell(raw.offset, line.call_s, line.first_call_s, line.held_bytes)
        else:
            _add(found, line, raw.offset, number)
    return found


def counted_record(path: Path, cell: CountedCell) -> Record:
    """Return the record without latency of a cell that was counted.

    Args:
        path: The passes file.
        cell: The cell as the file was indexed.

    Raises:
        StoreError: The file cannot be read, or has changed since it was indexed.
    """
    source = f"passes file {path}, at byte {cell.offset},"
    line = from_json(json_lines.read_at(path, cell.offset), source)
    if not isinstance(line, Counted):
        raise StoreError(f"{source} has changed while it was read")
    return line.measured(source)


def _add(found: PassIndex, line: BlockLine, offset: int, block: int) -> None:
    reference = line.reference
    group = found.groups.setdefault(reference.identity, Group(reference.identity))
    medians = [float(np.median(reference.seconds(clock))) for clock in CLOCKS]
    group.reference_medians.append((line.pass_number, medians[0], medians[1]))
    group.reference_offsets.setdefault(line.pass_number, offset)
    group.blocks_on_wall += reference.clock == "wall"
    if line.load is not None:
        group.loads.append(line.load)
    for cell in line.cells:
        if cell.status != "ok":
            found.failures[cell.identity] = cell.status, cell.error
            continue
        on_cpu, on_wall = (passes.level(cell.seconds(c), reference.seconds(c), PER_ROUND) for c in CLOCKS)
        entry = Entry(on_cpu, on_wall, cell.clock, block, offset)
        if cell.role == "cell":
            if (n := group.numbers.setdefault(cell.identity, len(group.entries))) == len(group.entries):
                group.entries.append({})
            group.entries[n][line.pass_number] = entry
        elif cell.role == "twin":
            group.twin[line.pass_number] = entry
        else:
            group.bridges.setdefault(cell.identity, {})[line.pass_number] = entry


@dataclass(frozen=True)
class CellTimes:
    """The samples of one cell from all of its passes: what its record holds of them.

    Args:
        samples_s: Seconds a call, by `clock`, pass after pass.
        rounds_of_pass: How many rounds each pass has.
        passes: Their numbers.
        blocks, levels: In each of them, null for the reference itself.
        share: CPU time over wall time, None without CPU time.
        faults: Median over passes of page faults a call.
        allocators: Of the processes that measured.
        ratio: To the reference; None for the reference itself.
    """

    samples_s: list[float]
    rounds_of_pass: list[int]
    passes: list[int]
    clock: Clock
    share: float | None
    faults: float | None
    allocators: list[str]
    reference: Identity
    ratio: PassRatio | None
    blocks: list[int]
    levels: list[float] | None


def cell_times(path: Path, group: Group, cell: Identity, levels: Levels) -> CellTimes | None:
    """Read the samples of one cell of a group from the file; None when no pass has it.

    Args:
        path: The passes file.
        group: From the index of that file.
        cell: The cell, or the reference itself; of the reference the first block of each pass is read.
        levels: Of the group, see `Group.levels`.

    Raises:
        StoreError: The file cannot be read, or has changed since it was indexed.
    """
    if cell == group.reference:
        offsets, clock, ratio = group.reference_offsets, group.reference_clock, None
        entries = dict[int, Entry]()
    elif cell in group.numbers:
        n = group.numbers[cell]
        entries = dict(sorted(group.entries[n].items()))
        offsets = {number: entry.offset for number, entry in entries.items()}
        clock, ratio = group.clock(entries), levels.ratio(n)
    else:
        return None
    found: list[Timed] = []
    allocators: dict[str, None] = {}
    for _, offset in sorted(offsets.items()):
        line = from_json(json_lines.read_at(path, offset), f"passes file {path}, at byte {offset},")
        if not isinstance(line, BlockLine):
            raise StoreError(f"passes file {path}, at byte {offset}, has changed while it was read")
        allocators[line.allocator] = None
        found += [timed for timed in (line.reference, *line.cells) if timed.identity == cell and timed.wall_s][:1]
    faults = [timed.faults for timed in found if timed.faults is not None]
    return CellTimes(
        samples_s=[s for timed in found for s in timed.seconds(clock)],
        rounds_of_pass=[len(timed.wall_s) // PER_ROUND for timed in found],
        passes=sorted(offsets),
        clock=clock,
        share=_share(found),
        faults=float(np.median(faults)) if faults else None,
        allocators=list(allocators),
        reference=group.reference,
        ratio=ratio,
        blocks=[entry.block for entry in entries.values()],
        levels=[e.cpu_level if clock == "cpu" else e.wall_level for e in entries.values()] if entries else None,
    )


def _share(found: Sequence[Timed]) -> float | None:
    if not found or any(timed.cpu_s is None for timed in found):
        return None
    return sum(sum(timed.cpu_s or []) for timed in found) / sum(sum(timed.wall_s) for timed in found)
