"""Running a sweep: each cell measured, its record on disk before the next one starts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from upbench import environment, record, run, store
from upbench.errors import UpbenchError
from upbench.grid import Cell
from upbench.record import Record

Progress = Callable[[str, float], None]


def run_cells(cells: Sequence[Cell], path: Path, known: Sequence[Record], progress: Progress) -> list[Record]:
    """Measure the cells that `known` does not hold, and append each record to `path`.

    Returns the records of all cells in their order. A cell that cannot run becomes a record with status "error".
    Ctrl-C ends the sweep after the last complete record and returns what there is.
    """
    run.validate([cell.spec for cell in cells])
    have = store.latest(r for r in known if r.status == "ok")
    found: list[Record] = []
    try:
        for n, cell in enumerate(cells):
            before = have.get(_key(cell))
            if before is not None:
                found.append(before.model_copy(update={"axes": dict(cell.axes)}))
                continue
            found.append(_measure(cell, _part_of(progress, cell, n, len(cells))))
            store.append(path, found[-1])
            if (timed := found[-1].latency) and timed.stopped == "interrupted":
                break
    except KeyboardInterrupt:
        pass
    return found


def _measure(cell: Cell, progress: Progress) -> Record:
    try:
        return run.compare([cell.spec], progress, cell.axes)[0]
    except UpbenchError as error:
        return run.failed(cell.spec, error, cell.axes)


def _part_of(progress: Progress, cell: Cell, n: int, total: int) -> Progress:
    """The progress of one cell as progress of the whole sweep."""
    return lambda what, part: progress(f"[{n + 1}/{total}] {cell.label}", (n + part) / total)


def _key(cell: Cell) -> str:
    """The key that a record of this cell would have, measured here and now."""
    env = environment.identity(environment.resolve_device(cell.spec.measure.device))
    if cell.spec.measure.threads is not None:
        env["threads"] = cell.spec.measure.threads
    return record.key(cell.spec.to_dict(), env)
