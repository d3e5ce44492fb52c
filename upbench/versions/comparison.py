"""Two versions of an upsampler, each in a process of its own, timed in turn within the same rounds.

Whatever else the machine does meets both alike, so that their ratio can be trusted where stored times cannot. A third
process runs the old version once more: what it shows against its twin is what two processes of the same code differ
by here and now (A/A), and no verdict goes below that.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch

from upbench.analysis import stats
from upbench.benchmark.check import Check
from upbench.benchmark.difference import TOLERANCES, compare_tensors
from upbench.machine import allocator
from upbench.machine.allocator import Pinning
from upbench.measure import rounds
from upbench.measure.cpu_clock import Sample
from upbench.records.record import Record, from_json
from upbench.specs.run_spec import RunSpec
from upbench.sweeping.worker import Worker
from upbench.versions.checkout import Version, VersionError
from upbench.versions.turns import Timed, Turn, change, clock_of, order, same, seconds, together, turn_of

WORKER = Path(__file__).with_name("worker.py")
SAMPLE = tuple(field.name for field in fields(Sample))
"""What is read of a sample, which another version may take with more, or less."""

Progress = Callable[[str, float], None]
"""Function that is told what is being done, and the part of the whole that is done, 0 to 1."""


class VersionWorker(Worker):
    """A process that holds one version of an upsampler.

    Args:
        version: The version.
        pinning: What its malloc does with large blocks that are freed.
    """

    def __init__(self, version: Version, pinning: Pinning = "kept") -> None:
        self.version = version
        super().__init__(
            command=[version.python, "-P", "-u", str(WORKER)],
            folder=version.folder,
            environment=allocator.worker_environment(pinning, version.environment()),
        )

    def receive(self) -> dict[str, Any]:
        """Return the answer to a message.

        Raises:
            VersionError: If the process ended, or answers with an error.
        """
        answer = self.answer()
        if answer is None:
            raise VersionError(f"the process of {self.version.name} ended by itself (exit code {self.process.wait()})")
        if "error" in answer:
            raise VersionError(f"in {self.version.name}: {answer['error']}")
        return answer


@dataclass(frozen=True)
class Loaded:
    """The answer of a worker that loaded its version.

    Args:
        record: Record without latency; None where its upbench cannot count without timing.
        environment: Machine and software, as `environment.capture` returns them there.
        quickest_s: Seconds of the quickest of a few calls.
        output: Output of one forward, [B, C, H*scale, W*scale], on the CPU.
    """

    record: Record | None
    environment: Mapping[str, Any]
    quickest_s: float
    output: torch.Tensor


@dataclass(frozen=True)
class Pair:
    """Both versions of one upsampler.

    Args:
        label: Name of the upsampler with its params.
        old: The old version.
        new: The new version.
        checks: Checks of the new output against the old one.
        timed: Times; None when a check failed, or only exact quantities were measured.
        repeated: Whether times failed a gate at first, so that new processes took them again.
    """

    label: str
    old: Loaded
    new: Loaded
    checks: list[Check]
    timed: Timed | None
    repeated: bool = False


def compare(
    spec: RunSpec,
    old: Version,
    new: Version,
    params: Mapping[str, Any] | None = None,
    timed: bool = True,
    alike: bool = True,
    fails: Callable[[Timed], bool] = lambda timed: False,
    progress: Progress = lambda what, part: None,
) -> Pair:
    """Load both versions, compare their outputs, then time them.

    Where times fail a gate, new processes take as many once more, and all rounds count: the addresses that a process
    happens to get make a few percent of its speed, and no number of rounds within it separates that from the code.

    Args:
        spec: The spec.
        old: The old version.
        new: The new version.
        params: Params that were set, see `load`.
        timed: Whether times are taken.
        alike: Whether the outputs must agree.
        fails: Returns whether times fail a gate.
        progress: Told what is being done.

    Raises:
        VersionError: If a version cannot be loaded, or its process fails.
    """
    first = _once(spec, old, new, params, timed, alike, progress)
    if first.timed is None or not fails(first.timed):
        return first
    second = _once(spec, old, new, params, timed, alike, progress)
    both = together(first.timed, second.timed) if second.timed else None
    return replace(second, timed=both, repeated=True)


def _once(
    spec: RunSpec,
    old: Version,
    new: Version,
    params: Mapping[str, Any] | None,
    timed: bool,
    alike: bool,
    progress: Progress,
) -> Pair:
    label = spec.label
    progress(f"{label}: loading {old.name}", 0.0)
    pinning = spec.measure.allocator
    with (
        VersionWorker(new, pinning) as second,
        VersionWorker(old, pinning) as first,
        VersionWorker(old, pinning) as twin,
    ):
        workers = (second, first, twin) if timed else (second, first)
        after, before, *_ = load(workers, spec, params)
        checks = [_check(spec, old, before, after)] if alike else []
        times = None
        if timed and all(check.passed for check in checks):
            turn = turn_of([before.quickest_s, after.quickest_s])
            times = time_versions(workers, turn, spec.measure.budget, lambda part: progress(f"{label}: latency", part))
    return Pair(label, before, after, checks, times)


def load(workers: Sequence[VersionWorker], spec: RunSpec, params: Mapping[str, Any] | None = None) -> list[Loaded]:
    """Have each worker build its version, all at once, and the first two count.

    Args:
        workers: The workers.
        spec: The spec.
        params: Params that were set; every version gives the others its own defaults, which are part of its code. None
            stands for all that the spec holds.

    Raises:
        VersionError: If a version cannot be loaded, or was loaded from elsewhere.
    """
    wanted = spec.to_dict() | ({} if params is None else {"params": dict(params)})
    with tempfile.TemporaryDirectory(prefix="upbench-") as folder:
        outputs = [Path(folder) / f"{n}.pt" for n in range(len(workers))]
        for n, (worker, output) in enumerate(zip(workers, outputs, strict=True)):
            worker.ask(
                {"do": "load", "spec": wanted, "source": spec.upsampler, "output": str(output), "counted": n < 2}
            )
        return [_loaded(worker, spec, output) for worker, output in zip(workers, outputs, strict=True)]


def _loaded(worker: VersionWorker, spec: RunSpec, output: Path) -> Loaded:
    """Return the answer to `load`; refuse it when the module was loaded from outside its version."""
    answer = worker.receive()
    inside = worker.version.inside
    if inside is not None and not Path(answer["file"]).resolve().is_relative_to(inside):
        raise VersionError(
            f"{spec.upsampler} was loaded from {answer['file']} instead of {worker.version.name}; "
            f"is its package missing at that commit?"
        )
    data = answer["record"]
    record = from_json(json.dumps(data), worker.version.name) if data else None
    tensor: torch.Tensor = torch.load(output, weights_only=True)
    return Loaded(record, answer["environment"], answer["quickest_s"], tensor)


def time_versions(
    workers: Sequence[VersionWorker], turn: Turn, budget_s: float, progress: Callable[[float], None] = lambda part: None
) -> Timed:
    """Time new, old and the twin of old in turn: forth and back in each round, in random order, one process at a time.

    Each begins as many rounds as the others, since the turns of a round are not alike: the middle one has two turns in
    a row. Sampling ends when the interval of the ratio is within 1 %, when more rounds stop narrowing it, or when the
    budget is spent. Versions of one thread share a core for as many rounds as there are workers, and another in the
    next: cores differ in speed by what else they do. The CPU time of the threads counts where it is the latency of every
    version, and wall time elsewhere, or where one version is of an upbench that does not take it.

    Args:
        workers: Workers of the new version, the old one and its twin, loaded.
        turn: Length of a turn.
        budget_s: Seconds for each of them.
        progress: Told the part that is done, 0 to 1.

    Raises:
        KeyboardInterrupt: If sampling is interrupted.
        VersionError: If a process fails.
    """

    def take(worker: VersionWorker, core: int) -> list[Sample]:
        worker.ask({"do": "time", "calls": turn.calls, "samples": turn.samples, "core": core})
        return [Sample(**{name: one.get(name) for name in SAMPLE}) for one in worker.receive()["samples"]]

    turns: list[list[list[Sample]]] = [[] for _ in workers]
    for worker in workers:
        take(worker, 0)
    start, total = time.perf_counter(), budget_s * len(workers)

    def one_round(done: int) -> bool:
        progress(min((time.perf_counter() - start) / total, 1.0))
        for index in order(len(workers), done):
            turns[index].append(take(workers[index], done // len(workers)))
        return True

    def width() -> float:
        ratio = change(seconds(turns, turn, clock_of(turns)))
        return (ratio.high - ratio.low) / 2 / ratio.value

    stopped = rounds.take(rounds.PROCESSES, total, one_round, width)
    if stopped == "interrupted":  # a gate is not judged by what there is until then
        raise KeyboardInterrupt
    clock = clock_of(turns)
    taken, wall = seconds(turns, turn, clock), seconds(turns, turn, "wall")
    return Timed(change(taken), stats.noise_floor(same(taken)), stopped, turn.calls, taken, clock, wall)


def _check(spec: RunSpec, old: Version, before: Loaded, after: Loaded) -> Check:
    """Check the new output against the old one, within the tolerance of its dtype."""
    broken = int((~torch.isfinite(before.output)).sum())
    if broken:
        told = f"{broken} of {before.output.numel()} values of the output of {old.name} are not finite"
        return Check(spec.label, "output", False, told)
    limit, _ = TOLERANCES[spec.input.dtype]
    return Check(
        spec.label, "output", *compare_tensors(after.output, before.output, limit, f"the output of {old.name}")
    )
