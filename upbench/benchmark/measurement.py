"""Measures workloads and returns the fields of records: counts, memory, roofline bound, and latency in shared rounds."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Any

import torch

from upbench import units
from upbench.benchmark import timing
from upbench.benchmark.peaks import floor_of, memory_of
from upbench.benchmark.workload import Workload
from upbench.errors import SpecError
from upbench.machine import calibration, ceilings, environment, first_calibration
from upbench.machine.calibration import Calibration
from upbench.measure import clock, cpu_clock
from upbench.measure.cpu_clock import Meter
from upbench.specs.run_spec import RunSpec

AA_S = 2.0
"""Time budget in seconds of the A/A runs before a comparison."""
SLOW_S = 0.5
"""Seconds of a call from which on a profile says beforehand how many there are."""
BACKWARD = 2
"""Calls that the time of a backward is about."""
CALLS = 15 + BACKWARD
"""Calls of a profile with the least number of samples: first calls (3), warm-up (1), samples (3), counters (5), repetition (1),
memory (1) and memory with backward (3)."""

Progress = Callable[[str, float], None]
"""Function that is told what is being done, and the part of the whole that is done, 0 to 1."""
Build = Callable[[torch.device, clock.Clock], Workload]
"""Function that builds a workload on a device; the clock times its first call."""


@dataclass
class Measured:
    """A workload and the numbers that were measured.

    Attributes:
        work: The workload.
        fields: Name -> value of the fields of a `Record` that depend on the workload.
        parts: Its parts, measured; with latency and memory only where these were requested.
    """

    work: Workload
    fields: dict[str, Any]
    parts: list[Measured]


@dataclass(frozen=True)
class Comparison:
    """Workloads that were measured in the same rounds.

    Attributes:
        shared: Fields of a `Record` that are the same for all: started, comparison, noise_floor, environment.
        measured: Each workload, in the order given.
    """

    shared: dict[str, Any]
    measured: list[Measured]


def measure(
    specs: Sequence[RunSpec],
    builds: Sequence[Build],
    progress: Progress,
    timed: bool = True,
    by_part: bool = False,
    again: Build | None = None,
) -> Comparison:
    """Measure workloads side by side: counts and memory one after another, latency in interleaved rounds.

    One alone is timed in passes. With `again` a second build of it is timed, and the passes are spread over the run. Of
    several the first is built again and timed in the same rounds: what these twins differ by is the noise floor. Without
    `again` an upsampler that is compared with itself beforehand shows it.

    Args:
        specs: All specs of all workloads. They must agree in device, threads, mode and allocator: else times do not compare.
        builds: Functions that build each workload.
        progress: Told what is being done.
        timed: False measures only what is exact, and leaves latency None.
        by_part: Whether to also measure memory and latency of each part alone; that takes as long again.
        again: Builds the first workload once more; None where that cannot be done, or takes long.

    Raises:
        UpbenchError: If the specs disagree, or a workload cannot be built or run.
    """
    conditions = {
        (m.device, m.threads, m.mode, m.allocator, m.flush_denormals) for m in (spec.measure for spec in specs)
    }
    if len(conditions) > 1:
        raise SpecError(
            ["the upsamplers that are compared must have the same device, threads, mode, allocator and flush_denormals"]
        )
    first, many = specs[0].measure, len(builds)
    device = environment.resolve_device(first.device)
    shared: dict[str, Any] = {"started": now(), "comparison": uuid.uuid4().hex[:12] if many > 1 else None}
    with environment.with_threads(first.threads), environment.flushing(first.flush_denormals):
        shared["environment"] = environment.capture(device)
        calibrates = first_calibration.known if timed and first.mode == "inference" else _as_kept
        known = calibrates(device, shared["environment"], progress)
        shared["noise_floor"] = known.noise_floor if known else None
        bench = _Bench(device, clock.clock_for(device), cpu_clock.meter_for(device), first.budget, known, progress)
        if many == 1 and timed and again is not None and not by_part:
            measured = [bench.alone(builds[0], again)]
        else:
            if many > 1 and timed and again is None:
                progress("A/A run: what this machine can tell apart", 0)
                probe = partial(ceilings.probe_upsampler, device)
                shared["noise_floor"] = ceilings.noise_floor(bench.meter, probe, AA_S)
            counted_until = 0.4 if by_part else many / (many + 1)
            measured = bench.counted(builds, counted_until, by_part)
            if timed:
                twin = again(device, bench.watch) if again is not None else None
                seen = bench.time(measured, twin, counted_until, by_part)
                shared["noise_floor"] = shared["noise_floor"] if seen is None else seen
    for one in measured:
        for each in (one, *one.parts):
            each.fields["warnings"] = [*each.work.all_warnings(), *each.fields.get("warnings", ())]
    return Comparison(shared, measured)


def _as_kept(device: torch.device, environment: Mapping[str, Any], progress: Progress) -> Calibration | None:
    """Return the calibration of a machine, without measuring one."""
    return calibration.load(calibration.key(environment))


@dataclass(frozen=True)
class _Bench:
    """What a comparison measures with.

    Attributes:
        device: The device.
        watch: Its clock.
        meter: Takes samples on it.
        budget_s: Seconds of sampling for each workload.
        known: Calibration of the machine; None without one.
        progress: Told what is being done.
    """

    device: torch.device
    watch: clock.Clock
    meter: Meter
    budget_s: float
    known: Calibration | None
    progress: Progress

    def alone(self, build: Build, again: Build) -> Measured:
        """Measure one workload, with passes over a second build of it between the phases: so they are apart in time.

        The second build is what makes that possible: after a call in inference mode no backward may use its tensors.
        """
        work = build(self.device, self.watch)
        label, done = work.spec.label, count()
        slow = f" (a call takes {units.seconds(work.first_call_s)}, and there are about {CALLS})"
        said = f"{label}: counting{slow if work.first_call_s > SLOW_S else ''}"
        self.progress(said, 0)
        alone = timing.Alone(again(self.device, self.watch), self.meter, self.budget_s)
        work.on_step = lambda: self.progress(said, min(next(done) / CALLS, 0.4))
        alone.take()
        one = _counted(work)
        alone.take()
        work.on_step = lambda: self.progress(f"{label}: memory", 0.4)
        one.fields["memory"] = memory_of(work, alone.take)
        one.fields["roofline_s"] = floor_of(work, one.fields, self.known)
        alone.rest(lambda part: self.progress(f"{label}: latency", part))
        latency, warnings = alone.timed(work)
        more = [warning for warning in alone.work.all_warnings() if warning not in work.all_warnings()]
        one.fields |= {"latency": latency, "warnings": [*more, *warnings]}
        return one

    def counted(self, builds: Sequence[Build], until: float, by_part: bool) -> list[Measured]:
        """Build and count workloads and measure their memory, one after another.

        Args:
            builds: Functions that build them.
            until: The part of the whole that is done at the end.
            by_part: Whether to also measure the memory of each part alone.
        """
        measured: list[Measured] = []
        known: list[tuple[RunSpec, Measured, list[str]]] = []
        for n, build in enumerate(builds):
            work = build(self.device, self.watch)
            self.progress(f"{work.spec.label}: counting", until * n / len(builds))
            measured.append(_counted_once(work, known))
            self.progress(f"{work.spec.label}: memory", until * (n + 0.5) / len(builds))
            for each in (measured[-1], *(measured[-1].parts if by_part else ())):
                each.fields["memory"] = memory_of(each.work)
                each.fields["roofline_s"] = floor_of(each.work, each.fields, self.known)
        return measured

    def time(self, measured: Sequence[Measured], twin: Workload | None, at: float, by_part: bool) -> float | None:
        """Time all in the same rounds, then, with `by_part`, all first parts, all second parts, and so on.

        Args:
            measured: The workloads, counted.
            twin: Second build of the first one, timed in the same rounds; None for none.
            at: The part of the whole that is done before.
            by_part: Whether each part is also timed alone.

        Returns:
            The difference that twins showed, as a part of 1; None without a twin.
        """
        names = ", ".join(one.work.spec.label for one in measured)
        self.progress(f"{names}: warm-up", at)
        groups: list[tuple[Sequence[Measured], float]] = [(measured, self.budget_s)]
        if by_part:
            part_s = self.budget_s / len(measured[0].parts)
            groups += [(parts, part_s) for parts in zip(*(one.parts for one in measured), strict=True)]
        total, spent, noise_floor = sum(budget for _, budget in groups), 0.0, None
        for group, budget in groups:
            start, share = at + (1 - at) * spent / total, (1 - at) * budget / total

            def told(part: float, start: float = start, share: float = share) -> None:
                self.progress(f"{names}: latency", start + share * part)

            works = [one.work for one in group]
            times, seen = timing.together(works, self.meter, budget, told, twin if group is measured else None)
            noise_floor = seen if group is measured else noise_floor
            for one, (time_of, warnings) in zip(group, times, strict=True):
                one.fields |= {"latency": time_of, "warnings": warnings}
            spent += budget
        return noise_floor


def now() -> str:
    """Return the time in UTC, to the second, as records hold it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _counted(work: Workload) -> Measured:
    parts = [_counted(part) for part in work.parts]
    return Measured(work, work.counts([part.fields for part in parts]), parts)


def _counted_once(work: Workload, known: list[tuple[RunSpec, Measured, list[str]]]) -> Measured:
    """Count a workload, or take the counts of the same one in another runtime: they are those of its plain form.

    Args:
        work: The workload.
        known: Those that were counted: spec without runtime, counts, and the warnings of counting; added to.
    """
    if work.spec.measure.runtime is None or work.parts:
        return _counted(work)
    spec = work.spec.model_copy(update={"measure": work.spec.measure.model_copy(update={"runtime": None})})
    for one, counted, warnings in known:
        if one == spec:
            work.warnings += warnings
            return Measured(work, {**counted.fields, "output": work.repeated_output()}, [])
    before = len(work.warnings)
    found = _counted(work)
    # Later fields are of this workload alone.
    known.append((spec, Measured(work, dict(found.fields), []), work.warnings[before:]))
    return found
