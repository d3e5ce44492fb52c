"""Two versions of an upsampler, each in a process of its own, timed in turn within the same rounds.

Whatever else the machine does meets both alike, so that their ratio can be trusted where stored times cannot. A third
process runs the old version once more: what it shows against its twin is what two processes of the same code differ
by here and now (A/A), and no verdict goes below that.
"""

from __future__ import annotations

import json
import math
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from upbench.analysis import stats
from upbench.benchmark.check import TOLERANCES, Check, compare_tensors
from upbench.measure import rounds
from upbench.records.record import Record, from_json
from upbench.specs.run_spec import RunSpec
from upbench.sweeping.worker import Worker
from upbench.versions.checkout import Version, VersionError

WORKER = Path(__file__).with_name("worker.py")
TURN_S, MOST_SAMPLES = 0.02, 10
"""A version keeps its turn until it has a sample that no other process cut into, but not for longer than this or more
samples; the quickest of the turn counts. Longer calls are one sample each: there the median over rounds does it all."""

Progress = Callable[[str, float], None]


class VersionWorker(Worker):
    """A process that holds one version of an upsampler."""

    def __init__(self, version: Version) -> None:
        self.version = version
        super().__init__(
            command=[version.python, "-P", "-u", str(WORKER)], folder=version.folder, environment=version.environment()
        )

    def receive(self) -> dict[str, Any]:
        """The answer to a message. Raises VersionError with what went wrong there."""
        answer = self.answer()
        if answer is None:
            raise VersionError(f"the process of {self.version.name} ended by itself (exit code {self.process.wait()})")
        if "error" in answer:
            raise VersionError(f"in {self.version.name}: {answer['error']}")
        return answer


@dataclass(frozen=True)
class Loaded:
    """What a worker knows after loading. record: without latency; None where its upbench cannot count alone."""

    record: Record | None
    environment: Mapping[str, Any]
    quickest_s: float
    output: torch.Tensor


@dataclass(frozen=True)
class Timed:
    """The ratio of new to old times, and what the old version shows against itself. stopped: why sampling ended.

    turns_s: of the new version, the old one and its twin; seconds per call of every sample of every turn, two turns a
    round.
    """

    change: stats.Ratio
    noise_floor: float
    stopped: str
    calls_per_sample: int
    turns_s: tuple[list[list[float]], ...]


@dataclass(frozen=True)
class Pair:
    """Both versions of one upsampler. timed: None when a check failed, or only what is exact was asked for.

    repeated: whether times failed a gate at first, so that new processes took them again.
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
    """Load both versions, compare their outputs, then time them. Raises VersionError when one cannot be had.

    params: those that were asked for, see `load`. alike: whether the outputs must agree. fails: whether times fail a
    gate; then new processes take as many once more, and all rounds count: where a process happens to lie in memory
    makes a few percent of its speed, and no number of rounds within it tells that from the code.
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
    with VersionWorker(new) as second, VersionWorker(old) as first, VersionWorker(old) as twin:
        workers = (second, first, twin) if timed else (second, first)
        after, before, *_ = load(workers, spec, params)
        checks = [_check(spec, old, before, after)] if alike else []
        times = None
        if timed and all(check.passed for check in checks):
            turn = turn_of([before.quickest_s, after.quickest_s])
            times = time_versions(workers, turn, spec.measure.budget, lambda part: progress(f"{label}: latency", part))
    return Pair(label, before, after, checks, times)


def load(workers: Sequence[VersionWorker], spec: RunSpec, params: Mapping[str, Any] | None = None) -> list[Loaded]:
    """Have each worker build its version, all at once, and the first two count. Raises VersionError for what fails.

    params: those that were asked for; every version gives the others its own defaults, which are part of its code.
    None: all that the spec holds.
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
    """The answer to `load`; refused when the module was not taken from where it was to be found."""
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


@dataclass(frozen=True)
class Turn:
    """At most so many samples, of so many calls each. The same for all versions, so that the clock and cold caches weigh the same in each."""

    calls: int
    samples: int


def turn_of(quickest_s: Sequence[float]) -> Turn:
    """The turn for versions whose quickest calls took so long."""
    call_s = max(min(quickest_s), 1e-9)
    calls = max(1, math.ceil(rounds.SAMPLE_S / call_s))
    return Turn(calls, min(max(1, round(TURN_S / (calls * call_s))), MOST_SAMPLES))


def time_versions(
    workers: Sequence[VersionWorker], turn: Turn, budget_s: float, progress: Callable[[float], None] = lambda part: None
) -> Timed:
    """Time new, old and the twin of old in turn: forth and back in each round, one process at a time.

    Each begins as many rounds as the others, since the turns of a round are not alike: the middle one goes on where it
    was. Ends when the interval of the ratio is within 1 %, when more rounds stop narrowing it, or after `budget_s` seconds
    for each of them. A version of one thread stays on one core for as many rounds, the same for all, and on another in
    the next: cores differ in speed by what else they do.
    """

    def take(worker: VersionWorker, core: int) -> list[float]:
        worker.ask({"do": "time", "calls": turn.calls, "samples": turn.samples, "core": core})
        answer = worker.receive()
        return [s / turn.calls for s in answer["s"]]

    turns: list[list[list[float]]] = [[] for _ in workers]
    for worker in workers:
        take(worker, 0)
    start, total = time.perf_counter(), budget_s * len(workers)

    def one_round(done: int) -> bool:
        progress(min((time.perf_counter() - start) / total, 1.0))
        for index in _order(len(workers), done):
            turns[index].append(take(workers[index], done // len(workers)))
        return True

    def width() -> float:
        ratio = change(turns)
        return (ratio.high - ratio.low) / 2 / ratio.value

    stopped = rounds.take(rounds.PROCESSES, total, one_round, width)
    if stopped == "interrupted":  # a gate is not judged by what there is until then
        raise KeyboardInterrupt
    return Timed(change(turns), stats.noise_floor(same(turns)), stopped, turn.calls, tuple(turns))


def together(first: Timed, second: Timed) -> Timed:
    """The rounds of both."""
    turns = tuple(a + b for a, b in zip(first.turns_s, second.turns_s, strict=True))
    return replace(first, change=change(turns), noise_floor=stats.noise_floor(same(turns)), turns_s=turns)


def _order(workers: int, number: int) -> list[int]:
    """Whose turn it is in a round, forth and back: 0 1 2 2 1 0, then 1 2 0 0 2 1, then 2 0 1 1 0 2."""
    forth = [(number + n) % workers for n in range(workers)]
    return forth + forth[::-1]


def change(turns: Sequence[Sequence[Sequence[float]]]) -> stats.Ratio:
    """New over the mean of old and its twin: two processes of the old code are less of an accident than one."""
    new, old, twin = ([min(turn) for turn in side] for side in turns)
    return stats.paired_ratio(new, [(a + b) / 2 for a, b in zip(old, twin, strict=True)])


def same(turns: Sequence[Sequence[Sequence[float]]]) -> stats.Ratio:
    """The twin over the old version: equals, in two processes."""
    _, old, twin = ([min(turn) for turn in side] for side in turns)
    return stats.paired_ratio(twin, old)


def _check(spec: RunSpec, old: Version, before: Loaded, after: Loaded) -> Check:
    """The new output against the old one, within the tolerance of its dtype."""
    broken = int((~torch.isfinite(before.output)).sum())
    if broken:
        told = f"{broken} of {before.output.numel()} values of the output of {old.name} are not finite"
        return Check(spec.label, "output", False, told)
    limit, _ = TOLERANCES[spec.input.dtype]
    return Check(
        spec.label, "output", *compare_tensors(after.output, before.output, limit, f"the output of {old.name}")
    )
