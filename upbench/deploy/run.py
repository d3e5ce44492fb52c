"""Deploys upsamplers to runtimes, each cell in a worker process that may take so long and no longer."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from upbench.deploy import targets
from upbench.deploy.cell import Cell
from upbench.errors import StoreError
from upbench.records import json_lines
from upbench.sweeping import worker
from upbench.sweeping.worker import Worker

MODULE = "upbench.deploy.process"
LIMIT_S = 120.0
"""Seconds that a cell may take where nothing else is said."""
START = '{"key": '
"""How the line of a cell begins, also where it was cut."""
Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class Plan:
    """What is deployed.

    Attributes:
        specs: The specs as written, by the name that their rows have.
        ways: Targets and their variants.
        fixed: Whether files have the traced size alone.
        threads: Threads of a call.
        limit_s: Seconds that a cell may take.
    """

    specs: dict[str, dict[str, Any]]
    ways: Sequence[tuple[str, str]]
    fixed: bool = False
    threads: int = 1
    limit_s: float = LIMIT_S

    def key(self, name: str, runtime: str, variant: str) -> str:
        """Return what tells a cell from others in a file of cells."""
        asked = [self.specs[name], runtime, variant, self.fixed, self.threads]
        return json.dumps(asked, sort_keys=True, default=str)


def run(plan: Plan, progress: Progress, record: Path | None = None) -> list[Cell]:
    """Deploy every upsampler in every way.

    Args:
        plan: What is deployed.
        progress: Called with what is being done, and the part of the whole that is done.
        record: File that each cell is appended to as it ends; cells that are in it are not run again.

    Returns:
        The cells, by upsampler.

    Raises:
        StoreError: If the record is no file of cells.
        WorkerError: If no worker can be started.
    """
    known = _read(record) if record is not None and record.exists() else {}
    wanted = [(name, *way) for name in plan.specs for way in plan.ways]
    found = []
    with _pool() as pool:
        for number, (name, runtime, variant) in enumerate(wanted):
            key = plan.key(name, runtime, variant)
            progress(f"{name} in {runtime} {variant}", number / len(wanted))
            if key not in known:
                message = {"spec": plan.specs[name], "target": runtime, "variant": variant, "fixed": plan.fixed}
                cell = pool.do({**message, "threads": plan.threads}, plan.limit_s)
                cell.upsampler = name
                known[key] = cell
                if record is not None:
                    _append(record, key, cell)
            found.append(known[key])
    return found


class Pool:
    """One worker, replaced by another where a cell costs it."""

    def __init__(self) -> None:
        self.worker: Worker | None = None

    def do(self, message: dict[str, Any], limit_s: float) -> Cell:
        """Do one cell.

        Args:
            message: The arguments of `job.deploy`, and the threads.
            limit_s: Seconds that it may take.
        """
        one = self.worker = self.worker or _started()
        started, step = time.monotonic(), "capture"
        version = targets.installed(targets.load(message["target"]))
        cell = Cell(str(message["spec"]["upsampler"]), message["target"], message["variant"], version=version)
        one.ask(message)
        while True:
            if not one.pipe.poll(max(0.0, started + limit_s - time.monotonic())):
                self.end()
                cell.verdict, cell.step, cell.reason = "timed out", step, f"it took longer than {limit_s:g} s"
                break
            answer = one.answer()
            if answer is None:
                _, reason = one.death()
                self.worker = None
                cell.verdict, cell.step, cell.reason = "crashed", step, reason
                break
            if "what" in answer:
                step = answer["what"]
            elif "traceback" in answer:
                raise RuntimeError(f"in the worker process:\n{answer['traceback']}")
            else:
                return Cell.from_dict(answer["cell"])
        cell.wall_s = time.monotonic() - started
        return cell

    def end(self) -> None:
        """End the worker."""
        if self.worker is not None:
            self.worker.kill()
            self.worker = None


@contextmanager
def _pool() -> Iterator[Pool]:
    pool = Pool()
    try:
        yield pool
    finally:
        pool.end()


def _started() -> Worker:
    """Start a worker, and wait until it has imported torch: no cell pays for that."""
    found = Worker(MODULE)
    found.ask({"places": []})
    if not found.pipe.poll(worker.START_S) or found.answer() is None:
        found.kill()
        raise worker.not_ready()
    return found


def _read(path: Path) -> dict[str, Cell]:
    """Read the cells of a record by their keys; a line of one may have been cut while it was written."""
    found = {}
    for line in json_lines.scan(path):
        try:
            data = json.loads(line.text)
            found[data["key"]] = Cell.from_dict(data["cell"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            if not (isinstance(error, ValueError) and line.text.startswith(START)):
                raise StoreError(
                    f"{path}, line {line.number}: is no cell of upbench deploy; give another --record"
                ) from None
    return found


def _append(path: Path, key: str, cell: Cell) -> None:
    json_lines.append(path, json.dumps({"key": key, "cell": cell.to_dict()}), "--record")
