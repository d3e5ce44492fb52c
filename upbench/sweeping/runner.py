"""Running a sweep: every cell is counted, then all are timed in blocks and passes; each line is on disk at once."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

from upbench.machine.allocator import PINNINGS, Pinning
from upbench.records import pass_lines, pass_store, store
from upbench.records.pass_lines import Identity
from upbench.records.record import Passes, Record, RunSpecData, Status, SweepInfo
from upbench.records.skipped import together
from upbench.sweeping import engines, results_files, resume, worker
from upbench.sweeping.counting import Counting
from upbench.sweeping.engines.choice import Choice
from upbench.sweeping.engines.crew import Crew, Request
from upbench.sweeping.expand import Cell, SweepSpec
from upbench.sweeping.jobs import Source
from upbench.sweeping.lanes import Interrupts, Lanes
from upbench.sweeping.resume import Environment, Plan
from upbench.sweeping.timing import INTERRUPTED, Timing
from upbench.user_code import source_files

Progress = Callable[..., None]
"""Called with the cell that is measured, the part of all cells that is done, the seconds left where known (else None),
and, where several machines measure, the name of the machine."""


@dataclass(frozen=True)
class Options:
    """How a sweep is run.

    timeout_s: for each cell. retry: statuses that are measured again. memory_bytes: what a cell may take on a CPU,
    None for most of what is free. module: what runs in the workers. reference: the number of the cell that the others
    are set against; None for the one that the passes file has, or the sweep's base. engine: where the cells run.
    """

    timeout_s: float | None = None
    retry: frozenset[str] = frozenset()
    memory_bytes: int | None = None
    module: str = field(default_factory=lambda: worker.MODULE)
    reference: int | None = None
    engine: Choice = field(default_factory=Choice)


@dataclass
class Outcome:
    """What came of a sweep. status: of every cell that has a record now, by its number."""

    plan: Plan
    status: dict[int, str]
    measured: int = 0
    interrupted: bool = False


@contextmanager
def crew(
    cells: Sequence[Cell],
    options: Options,
    path: Path | None = None,
    notice: Callable[[str], None] = lambda sentence: None,
) -> Iterator[Crew]:
    """Yield the crew for these cells, and dismiss it at the end.

    Args:
        cells: The cells of the sweep.
        options: How it is run.
        path: Its results file, whose kind of machine goes on where there are several; None for none.
        notice: Called with a sentence for the user.

    Raises:
        WorkerError: If no worker can be started.
        DeviceError: If a device is not there.
    """
    possible = {(spec.measure.device, spec.upsampler): spec for cell in cells if (spec := cell.spec)}
    request = Request(
        list(dict.fromkeys(device for device, _ in possible)),
        {name: spec for (_, name), spec in possible.items()},
        options.module,
        options.engine,
        lambda env: 0 if path is None else resume.measured_in(env, cells, path),
        notice,
    )
    with engines.find(options.engine.name)(request) as found:
        yield found


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
    """Count and time the cells that a results file does not have whole, and append each record to it.

    Samples go to the passes file next to it, from which a killed sweep goes on. A cell that fails is a record with its
    status, and so is an impossible one. Ctrl-C ends the sweep after the block in progress; a second one drops it.

    Args:
        cells, sweep: The cells, and the sweep that they are of.
        path, known: The results file and its index.
        crew, options: The workers and their devices, and the limits of the run.
        progress, notice: Called as cells are done, and with a sentence for the user.
    """
    work = resume.plan(cells, known, crew.places, options.retry)
    for sentence in resume.edits(work):
        notice(sentence)
    return Run(cells, sweep, path, options, crew, work, progress, notice).go()


@dataclass
class Run:
    """One run of a sweep. status: of the cells that have a record; measured: how many cells were timed now, or failed;
    pinning: what malloc of the workers does, as of those that are idle at first; lost: devices that are gone."""

    cells: Sequence[Cell]
    sweep: SweepSpec
    path: Path
    options: Options
    crew: Crew
    plan: Plan
    progress: Progress
    notice: Callable[[str], None]
    status: dict[int, str] = field(default_factory=dict)
    measured: int = 0
    interrupts: Interrupts = field(default_factory=Interrupts)
    pinning: Pinning = "kept"
    lost: set[str] = field(default_factory=set)

    @property
    def places(self) -> dict[str, list[Environment]]:
        """The environments that each device of a spec stands for."""
        return self.crew.places

    def say(self, device: str, what: str, part: float, left_s: float | None) -> None:
        """Say what a device does, in the line of its machine where there are several.

        Args:
            device: Where it is done, by the id of its environment.
            what: What is done.
            part: The part of everything that is done, from 0 to 1.
            left_s: Seconds until the end, where they are known.
        """
        line = self.crew.line_of(device)
        self.progress(what, part, left_s, *([line] if line else []))

    def go(self) -> Outcome:
        """Count, time, and write the records."""
        self.status = dict(self.plan.status)
        try:
            with self.interrupts.counted():
                self._write_what_is_known()
                for pinning, kind in product(PINNINGS, ("cuda", "cpu")):
                    self._pin(pinning)
                    self._count(kind)
                    self._time(kind)
        finally:
            for one in self.crew.idle:
                one.kill()
        return Outcome(self.plan, self.status, self.measured, self.interrupts.count > 0)

    def devices(self, n: int) -> list[str]:
        """Return the devices that a cell can be measured on."""
        spec = self.cells[n].spec
        assert spec is not None, "impossible cells are never measured"
        return [env["device_id"] for env in self.places[spec.measure.device]]

    def counted(self, n: int, record: Record, call_s: float, first_call_s: float) -> None:
        """Keep the record of a cell that was counted until it is timed.

        Args:
            n, record: Number of the cell, and its record.
            call_s, first_call_s: Seconds of a call, and of the very first one.
        """
        written, held = self._of_cell(n, record), record.memory
        saved = held.saved_bytes or 0 if held and record.settings.measure.mode == "training-backward" else 0
        line = pass_lines.Counted(
            key=written.key,
            axes=written.axes,
            call_s=call_s,
            first_call_s=first_call_s,
            held_bytes=held.input_bytes + held.weight_bytes + saved if held else 0,
            record=written.to_dict(),
        )
        pass_lines.append(results_files.passes_path(self.path), line)

    def write(self, n: int, record: Record) -> None:
        """Write the record of a cell that was timed, and the same for the cells with an equal spec."""
        self.measured += 1
        for one in (n, *self.plan.followers.get(n, ())):
            self._append(one, record)

    def failed(self, n: int, device: str, status: Status, error: str) -> None:
        """Write that a cell failed, see `timing.Run.failed`."""
        env = next(env for every in self.places.values() for env in every if env["device_id"] == device)
        self.measured += 1
        for one in (n, *self.plan.followers.get(n, ())):
            self._append(one, self._failed(one, status, error, env))

    def do(self, numbers: Sequence[int], source: Source) -> None:
        """Do the jobs of a source on the devices of some cells."""
        devices = list(dict.fromkeys(device for n in numbers for device in self.devices(n)))
        for other in [one for one in self.crew.idle if not any(one.serves(device) for device in devices)]:
            other.kill()
            self.crew.idle.remove(other)
        Lanes(
            devices,
            lambda device: self.crew.start(device, self.pinning),
            source,
            self.interrupts,
            self.notice,
            self.crew.idle,
            self.lost,
        ).run()

    def _pin(self, pinning: Pinning) -> None:
        """Let the cells that follow run in workers with this allocator, and end those with another."""
        if pinning != self.pinning and any(self._has_allocator(n, pinning) for n in range(len(self.cells))):
            while self.crew.idle:
                self.crew.idle.pop().kill()
        self.pinning = pinning

    def _has_allocator(self, n: int, pinning: Pinning) -> bool:
        spec = self.cells[n].spec
        return spec is not None and spec.measure.allocator == pinning

    def _is_of(self, n: int, kind: str) -> bool:
        """Whether a cell runs on this kind of device, with the allocator that workers have now."""
        spec = self.cells[n].spec
        assert spec is not None, "impossible cells are never measured"
        return self.places[spec.measure.device][0]["device_type"] == kind and self._has_allocator(n, self.pinning)

    def _count(self, kind: str) -> None:
        known = pass_store.index(results_files.passes_path(self.path))
        for sentence in together(known.skipped):
            self.notice(sentence)
        had = {self.plan.identities[key] for key in known.counted if key in self.plan.identities}
        queue = deque(n for n in self.plan.measure if n not in had and self._is_of(n, kind))
        self.do(list(queue), Counting(self, queue))

    def _time(self, kind: str) -> None:
        """Time the cells of a kind of device that are counted and not timed yet, beside those that are finished."""
        file = results_files.passes_path(self.path)
        known, done = pass_store.index(file), store.index(self.path).by_cell
        had = {key for group in known.groups.values() for key in (group.reference, *group.numbers)}
        others = {*self.plan.copies, *(n for every in self.plan.followers.values() for n in every)}
        members: dict[int, Identity] = {}
        due: set[int] = set()
        printed: dict[Identity, Passes] = {}
        for key, n in self.plan.identities.items():
            if key not in known.counted or n in others or not self._is_of(n, kind):
                continue
            if n not in self.status:
                due.add(n)
            elif (
                self.status[n] != "ok"
                or key not in had
                or (latency := store.read_at(self.path, done[key].offset).latency) is None
                or latency.passes is None
            ):
                continue
            elif latency.stopped == INTERRUPTED:
                due.add(n)
            else:
                reference, axes = latency.passes.reference
                first = printed.setdefault((reference, axes), latency.passes)
                if latency.passes.series > first.series:
                    printed[reference, axes] = first.model_copy(update={"series": latency.passes.series})
            members[n] = key
        if due and not self.interrupts.count:
            Timing(self, members, due, known.counted, printed, file).go()

    def _write_what_is_known(self) -> None:
        anywhere = next(iter(self.places.values()))[0]
        for n in self.plan.impossible:
            self._append(n, self._failed(n, "impossible", resume.broken_rules(self.cells[n]), anywhere))
        for n, offset in self.plan.copies.items():
            self._append(n, store.read_at(self.path, offset))

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

    def _append(self, n: int, record: Record) -> None:
        store.append(self.path, self._of_cell(n, record))
        self.status[n] = record.status

    def _of_cell(self, n: int, record: Record) -> Record:
        """A record as it is written for a cell, and the identity under which the cell is known from now on."""
        cell, sweep = self.cells[n], self.sweep
        info = SweepInfo(name=sweep.name, title=sweep.title, published=sweep.published, cell=n)
        spec = RunSpecData.model_validate(cell.spec.to_dict() if cell.spec else dict(cell.draft))
        written = record.model_copy(update={"spec": spec, "axes": dict(cell.axes), "sweep": info})
        planned = self.plan.sources.get(spec.upsampler) if cell.spec else None
        place = store.identity(written.key, cell.axes)
        if place not in self.plan.identities:
            self.plan.identities[place] = n
            if changed := source_files.changed(planned, record.sources):
                # Its worker began after the edit. The record is that of the new code, and a later run measures the others.
                self.notice(f"{', '.join(changed)} changed while the sweep ran; {cell.label} is of the new code")
        return written
