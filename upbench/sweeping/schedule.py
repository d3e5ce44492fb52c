"""Which cells are timed together, pass by pass, and what a failure changes: pure, and deterministic for a sweep.

In each pass the cells are shuffled anew and cut into blocks of a few, each timed in rounds with the reference. State is
what the passes file has: every (cell, pass) without a line is still to be measured, so that nothing else needs to be
remembered when a process is killed.
"""

from __future__ import annotations

import math
import random
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from upbench.records.record import Status

BLOCK_CELLS = 8
STRATUM_FACTOR = 4.0
"""Within a block no call is more than this many times as long as another: a round of them is one stretch of time."""
MEMORY_PART = 0.25
"""The part of the memory limit that the inputs, weights and saved tensors of a block may take together."""
TRIES_OF_REFERENCE = 2


class Weight(NamedTuple):
    """What decides with which others a cell is timed.

    Args:
        call_s: Seconds of a call.
        held_bytes: What it keeps between calls.
    """

    call_s: float
    held_bytes: int = 0


@dataclass(frozen=True)
class Block:
    """Cells, by their numbers, that are timed together in a pass.

    Args:
        pass_number: The pass, from 0.
        number: Counts the blocks of a pass.
        cells: Their numbers.
    """

    pass_number: int
    number: int
    cells: tuple[int, ...]


def cut(
    cells: Collection[int],
    weights: Mapping[int, Weight],
    seed: str,
    pass_number: int,
    limit_bytes: int | None = None,
    alone: Collection[int] = (),
) -> list[tuple[int, ...]]:
    """Cut the cells of a pass into blocks, in random order.

    Args:
        cells: The numbers of the cells that have no measurement in this pass.
        weights: Of each of these cells.
        seed: Names the sweep; with the pass it decides the order.
        pass_number: The pass, from 0.
        limit_bytes: Memory limit of the process that measures; None for no limit.
        alone: Cells that are timed with the reference only, since they once took their process with them.
    """
    order = random.Random(f"{seed}/{pass_number}")
    blocks: list[tuple[int, ...]] = [(cell,) for cell in sorted(cells) if cell in alone]
    for stratum in _strata([cell for cell in sorted(cells) if cell not in alone], weights):
        order.shuffle(stratum)
        blocks += _pack(stratum, weights, None if limit_bytes is None else MEMORY_PART * limit_bytes)
    order.shuffle(blocks)
    return blocks


def _strata(cells: Sequence[int], weights: Mapping[int, Weight]) -> Iterator[list[int]]:
    """Cells whose calls differ by less than STRATUM_FACTOR, from the shortest on."""
    stratum: list[int] = []
    for cell in sorted(cells, key=lambda cell: (weights[cell].call_s, cell)):
        if stratum and weights[cell].call_s > STRATUM_FACTOR * weights[stratum[0]].call_s:
            yield stratum
            stratum = []
        stratum.append(cell)
    if stratum:
        yield stratum


def _pack(cells: Sequence[int], weights: Mapping[int, Weight], most_bytes: float | None) -> list[tuple[int, ...]]:
    """Cut a row of cells into blocks of nearly equal size, and smaller where memory asks for it."""
    size = math.ceil(len(cells) / math.ceil(len(cells) / BLOCK_CELLS))
    blocks: list[list[int]] = []
    held = 0
    for cell in cells:
        held += weights[cell].held_bytes
        if not blocks or len(blocks[-1]) == size or (most_bytes is not None and held > most_bytes):
            blocks.append([])
            held = weights[cell].held_bytes
        blocks[-1].append(cell)
    return [tuple(block) for block in blocks]


def bridge(finished: Collection[int], seed: str, most: int = 2) -> list[int]:
    """Return finished cells to be timed again by a later run, which show whether its ratios continue those of the file.

    Args:
        finished: Numbers of the finished cells.
        seed: What the selection follows from.
        most: How many cells are returned at most.

    Returns:
        Their numbers, in ascending order.
    """
    return sorted(random.Random(f"{seed}/bridge").sample(sorted(finished), min(most, len(finished))))


class Failure(NamedTuple):
    """Why a cell takes no further part."""

    status: Status
    error: str
    pass_number: int


class ReferenceFailed(Exception):
    """The reference took its process with it more than once, or raised: no ratio can be had."""

    def __init__(self, status: Status, error: str) -> None:
        super().__init__(error)
        self.status = status


@dataclass
class Schedule:
    """What of a sweep is still to be timed, and what its failures were.

    Give out blocks with `next_block`, and answer each with one of `finished`, `left` (then `finished`) or `died`.

    Args:
        weights: Of every cell that takes part, by its number; the twin of the reference is a cell like any.
        seed: Names the sweep.
        passes: How many are planned; `passes` may be raised while the sweep runs.
        done: The (cell, pass) that the passes file has already.
        limit_bytes: See `cut`.
    """

    weights: Mapping[int, Weight]
    seed: str
    passes: int
    done: set[tuple[int, int]] = field(default_factory=set)
    limit_bytes: int | None = None
    alone: set[int] = field(default_factory=set)
    failed: dict[int, Failure] = field(default_factory=dict)
    _blocks: list[Block] = field(default_factory=list)
    _numbers: dict[int, int] = field(default_factory=dict)
    _reference_deaths: int = 0
    _out: set[tuple[int, int]] = field(default_factory=set)
    """The (cell, pass) that are being timed just now, perhaps on several devices."""

    def next_block(self) -> Block | None:
        """Return the next block to time; None when no planned pass has cells left that are not being timed already."""
        while True:
            while self._blocks:
                block = self._blocks.pop(0)
                cells = tuple(c for c in block.cells if self._is_due(c, block.pass_number))
                if cells:
                    self._out |= {(c, block.pass_number) for c in cells}
                    return Block(block.pass_number, block.number, cells)
            for number in range(self.passes):
                due = [cell for cell in self.weights if self._is_due(cell, number)]
                if due:
                    self._blocks = [
                        self._block(number, cells)
                        for cells in cut(due, self.weights, self.seed, number, self.limit_bytes, self.alone)
                    ]
                    break
            else:
                return None

    def finished(self, block: Block) -> None:
        """Note that a block is on disk: all of its cells that did not leave it have this pass."""
        self._take_back(block)
        self.done |= {(cell, block.pass_number) for cell in block.cells if cell not in self.failed}

    def left(self, block: Block, cell: int, status: Status, error: str) -> None:
        """Note that a cell raised while the others of its block went on.

        Args:
            block: The block.
            cell: Number of the cell.
            status: Its status.
            error: A sentence that says why.
        """
        self.failed[cell] = Failure(status, error, block.pass_number)

    def died(self, block: Block, cell: int | None, status: Status, error: str) -> None:
        """Note that the process of a block ended, or was ended; the pass of the block is void.

        A cell that died with others around it is tried alone, for which the others are not to blame; one that died
        alone has failed. The others are timed again, in this pass.

        Args:
            block: What was being timed.
            cell: The cell that was built or called when it ended; None for the reference.
            status: What became of the process.
            error: Why, as a sentence.

        Raises:
            ReferenceFailed: It was the reference, and not for the first time.
        """
        self._take_back(block)
        others = tuple(c for c in block.cells if c != cell)
        if cell is None:
            self._reference_deaths += 1
            if self._reference_deaths >= TRIES_OF_REFERENCE:
                raise ReferenceFailed(status, error)
            self._blocks.insert(0, self._block(block.pass_number, others))
            return
        if cell in self.alone:
            self.failed[cell] = Failure(status, error, block.pass_number)
            return
        self.alone.add(cell)
        again = [self._block(block.pass_number, cells) for cells in (others, (cell,)) if cells]
        self._blocks = again + [self._without(later, cell) for later in self._blocks]

    def returned(self, block: Block) -> None:
        """Note that a block was lost with its machine, for which none of its cells is to blame: it is the next one."""
        self._take_back(block)
        self._blocks.insert(0, block)

    def passes_of(self, cell: int) -> int:
        """Return how many passes a cell has."""
        return sum((cell, number) in self.done for number in range(self.passes))

    def part_done(self) -> float:
        """Return the part of all planned (cell, pass) that needs no more time."""
        total = len(self.weights) * self.passes
        cells = [cell for cell in self.weights if cell not in self.failed]
        left = sum((cell, number) not in self.done for cell in cells for number in range(self.passes))
        return 1 - left / total if total else 1.0

    def _is_due(self, cell: int, pass_number: int) -> bool:
        return cell not in self.failed and (cell, pass_number) not in self.done and (cell, pass_number) not in self._out

    def _take_back(self, block: Block) -> None:
        self._out -= {(cell, block.pass_number) for cell in block.cells}

    def _block(self, pass_number: int, cells: tuple[int, ...]) -> Block:
        number = self._numbers[pass_number] = self._numbers.get(pass_number, -1) + 1
        return Block(pass_number, number, cells)

    def _without(self, block: Block, cell: int) -> Block:
        return Block(block.pass_number, block.number, tuple(c for c in block.cells if c != cell))
