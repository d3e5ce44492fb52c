"""Running a sweep: cells go to workers, and what comes back is on disk before the next one starts."""

from __future__ import annotations

import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import connection
from pathlib import Path
from types import FrameType

from upbench.records import store
from upbench.records.record import Record, RunSpecData, Status, SweepInfo, from_dict
from upbench.sweeping import resume, worker
from upbench.sweeping.expand import Cell, SweepSpec
from upbench.sweeping.resume import Environment, Plan
from upbench.sweeping.worker import Message, Worker
from upbench.user_code import source_files

TICK_S = 0.2
"""How often a time limit, Ctrl-C and the death of a worker are looked for; a message is heard at once."""

Progress = Callable[[str, float, float | None], None]
"""Called with the cell that is measured, the part of all cells that is done, and the seconds left where known."""


@dataclass(frozen=True)
class Options:
    """How a sweep is run.

    timeout_s: for each cell. retry: statuses that are measured again. memory_bytes: what a cell may take on a CPU,
    None for most of what is free. module: what runs in the workers.
    """

    timeout_s: float | None = None
    retry: frozenset[str] = frozenset()
    memory_bytes: int | None = None
    module: str = field(default_factory=lambda: worker.MODULE)


@dataclass
class Outcome:
    """What came of a sweep. status: of every cell that has a record now, by its number."""

    plan: Plan
    status: dict[int, str]
    measured: int = 0
    interrupted: bool = False


@dataclass
class _Lane:
    """A device and the worker that measures on it, one cell at a time."""

    device: str
    worker: Worker | None = None
    ready: bool = False
    cell: int | None = None
    started: float = 0.0
    part: float = 0.0


@dataclass(frozen=True)
class Crew:
    """Where cells run, by the device of their spec, and a worker that is ready to measure."""

    places: dict[str, list[Environment]]
    first: Worker


@contextmanager
def crew(cells: Sequence[Cell], options: Options) -> Iterator[Crew]:
    """The crew for these cells, dismissed at the end. Raises WorkerError when a device is not there."""
    names = dict.fromkeys(cell.spec.measure.device for cell in cells if cell.spec)
    places, first = worker.places(list(names), options.module)
    try:
        yield Crew(places, first)
    finally:
        first.kill()


def run_cells(
    cells: Sequence[Cell],
    sweep: SweepSpec,
    path: Path,
    known: store.Index,
    crew: Crew,
    options: Options,
    progress: Progress,
    notice: Callable[[str], None],
) -> Outcome:
    """Measure the cells that the results file `path` does not have, and append each record to it.

    known: the index of that file. A cell that fails is a record with its status, and so is an impossible one.
    Ctrl-C ends the sweep after the cells that are being measured; a second one drops these. notice: called with a
    sentence for the user.
    """
    work = resume.plan(cells, known, crew.places, options.retry)
    for sentence in resume.edits(work):
        notice(sentence)
    return _Run(cells, sweep, path, options, crew.places, work, progress, notice, [crew.first]).go()


@dataclass
class _Run:
    cells: Sequence[Cell]
    sweep: SweepSpec
    path: Path
    options: Options
    places: dict[str, list[Environment]]
    plan: Plan
    progress: Progress
    notice: Callable[[str], None]
    idle: list[Worker]
    lanes: list[_Lane] = field(default_factory=list)
    status: dict[int, str] = field(default_factory=dict)
    measured: int = 0
    spent_s: float = 0.0
    """What the measured cells took together."""
    stops: int = 0
    """How often Ctrl-C was pressed."""

    def go(self) -> Outcome:
        self.status = dict(self.plan.status)
        try:
            with self._counting_interrupts():
                self._write_what_is_known()
                for kind in ("cuda", "cpu"):
                    self._run_kind(kind)
        finally:
            for one in (*self.idle, *(lane.worker for lane in self.lanes if lane.worker)):
                one.kill()
        return Outcome(self.plan, self.status, self.measured, self.stops > 0)

    def _write_what_is_known(self) -> None:
        anywhere = next(iter(self.places.values()))[0]
        for n in self.plan.impossible:
            self._append(n, self._failed(n, "impossible", resume.broken_rules(self.cells[n]), anywhere))
        for n, offset in self.plan.copies.items():
            self._append(n, store.read_at(self.path, offset))

    def _run_kind(self, kind: str) -> None:
        """The cells of GPUs side by side, then those of the CPU, since each disturbs the times of the other."""
        queue = deque(n for n in self.plan.measure if any(d.startswith(kind) for d in self._devices(n)))
        devices = dict.fromkeys(device for n in queue for device in self._devices(n))
        self.lanes = [_Lane(device) for device in devices]
        told = False
        while True:
            if not self.stops:
                for lane in self.lanes:
                    self._hand_out(lane, queue)
            elif not told and any(lane.cell is not None for lane in self.lanes):
                told = True
                self.notice("finishing the cell that is being measured, then stopping; Ctrl-C again drops it")
            awaited = [lane for lane in self.lanes if lane.worker and (lane.cell is not None or not lane.ready)]
            if self.stops:
                awaited = [lane for lane in awaited if lane.cell is not None]
            if not awaited or self.stops > 1:
                break
            connection.wait([lane.worker.pipe for lane in awaited if lane.worker], TICK_S)
            for lane in awaited:
                self._look_after(lane)
        self.idle += [lane.worker for lane in self.lanes if lane.worker and lane.ready and lane.cell is None]
        for lane in self.lanes:
            if lane.worker and lane.worker not in self.idle:
                lane.worker.kill()
        self.lanes = []

    def _devices(self, n: int) -> list[str]:
        """The devices that a cell can be measured on."""
        spec = self.cells[n].spec
        assert spec is not None, "impossible cells are never measured"
        return [env["device_id"] for env in self.places[spec.measure.device]]

    def _hand_out(self, lane: _Lane, queue: deque[int]) -> None:
        """Give an idle lane the next cell of its device, or begin to start the worker that will take it."""
        n = next((n for n in queue if lane.device in self._devices(n)), None)
        if n is None or lane.cell is not None:
            return
        if lane.worker is None:
            lane.ready = bool(self.idle)
            lane.worker = self.idle.pop() if self.idle else Worker(self.options.module)
            if not lane.ready:
                lane.started = time.monotonic()
                lane.worker.ask({"places": [lane.device]})
        if not lane.ready:
            return
        queue.remove(n)
        spec = self.cells[n].spec
        lane.cell, lane.started, lane.part = n, time.monotonic(), 0.0
        lane.worker.ask(
            {"spec": spec and spec.to_dict(), "device": lane.device, "memory_bytes": self.options.memory_bytes}
        )
        self._say(lane)

    def _look_after(self, lane: _Lane) -> None:
        """Hear what a worker has to say, and notice when it has died or taken too long."""
        assert lane.worker is not None
        limit = self.options.timeout_s
        dead = lane.worker.process.poll() is not None
        if lane.worker.pipe.poll():
            self._hear(lane, lane.worker.answer())
        elif dead:  # something that it started still holds its end of the socket
            self._hear(lane, None)
        elif lane.cell is None and time.monotonic() - lane.started > worker.START_S:
            raise worker.not_ready()
        elif limit is not None and lane.cell is not None and time.monotonic() - lane.started > limit:
            lane.worker.kill()
            lane.worker = None
            self._fail(lane, "timeout", f"it took longer than the {limit:g} s that --timeout allows")

    def _hear(self, lane: _Lane, message: Message | None) -> None:
        assert lane.worker is not None
        if message is None:
            status, why = lane.worker.death()
            lane.worker = None
            if lane.cell is None:
                raise worker.WorkerError(f"a new worker process for {lane.device} cannot be started: {why}")
            self._fail(lane, status, why)
        elif "places" in message:
            if message["refused"]:
                raise worker.WorkerError("\n".join(message["refused"]))
            lane.ready = True
        elif "part" in message:
            lane.part = message["part"]
            self._say(lane)
        else:
            if not message["healthy"]:
                lane.worker.kill()
                lane.worker = None
            if "record" in message:
                self._finish(lane, from_dict(message["record"], f"the worker for {lane.device}"))
            else:
                self._fail(lane, message["status"], message["error"])

    def _fail(self, lane: _Lane, status: Status, error: str) -> None:
        assert lane.cell is not None
        env = next(env for every in self.places.values() for env in every if env["device_id"] == lane.device)
        self._finish(lane, self._failed(lane.cell, status, error, env))

    def _failed(self, n: int, status: Status, error: str, env: Environment) -> Record:
        """The record of a cell that was not measured."""
        cell = self.cells[n]
        return Record(
            label=cell.spec.label if cell.spec else str(cell.draft.get("upsampler")),
            spec=cell.spec.to_dict() if cell.spec else dict(cell.draft),
            status=status,
            error=error,
            started=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            environment=resume.conditions(cell, env),
            sources=self.plan.sources.get(cell.spec.upsampler) if cell.spec else None,
        )

    def _finish(self, lane: _Lane, record: Record) -> None:
        """Write the record of a lane's cell, and the same for the cells with an equal spec."""
        n = lane.cell
        assert n is not None
        for one in (n, *self.plan.followers.get(n, ())):
            self._append(one, record)
        self.measured += 1
        self.spent_s += time.monotonic() - lane.started
        lane.cell = None
        self._say(lane, self.cells[n].label)

    def _append(self, n: int, record: Record) -> None:
        cell, sweep = self.cells[n], self.sweep
        info = SweepInfo(name=sweep.name, title=sweep.title, published=sweep.published, cell=n)
        spec = RunSpecData.model_validate(cell.spec.to_dict() if cell.spec else dict(cell.draft))
        written = record.model_copy(update={"spec": spec, "axes": dict(cell.axes), "sweep": info})
        store.append(self.path, written)
        self.status[n] = record.status
        planned = self.plan.sources.get(spec.upsampler) if cell.spec else None
        if files := source_files.changed(planned, record.sources):
            # Its worker began after the edit. The record is that of the new code, and a later run measures the others.
            self.plan.identities[store.identity(written.key, cell.axes)] = n
            self.notice(f"{', '.join(files)} changed while the sweep ran; {cell.label} is of the new code")

    def _say(self, lane: _Lane, label: str | None = None) -> None:
        done, total = len(self.status), len(self.cells)
        busy = [one for one in self.lanes if one.cell is not None]
        parts = sum(one.part for one in busy)
        left_s = None
        if self.measured:
            to_measure = len(self.plan.measure) - self.measured - parts
            left_s = self.spent_s / self.measured * to_measure / len(self.lanes)
        if lane.cell is not None:
            self.progress(f"[{done + 1}/{total}] {self.cells[lane.cell].label}", (done + parts) / total, left_s)
        elif done == total:
            self.progress(f"[{done}/{total}] {label}", 1, None)

    @contextmanager
    def _counting_interrupts(self) -> Iterator[None]:
        """Ctrl-C is counted, so that it comes between two records and never into the writing of one."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def count(number: int, frame: FrameType | None) -> None:
            self.stops += 1

        before = signal.signal(signal.SIGINT, count)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)
