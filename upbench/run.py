"""From specs to records: the one room where the pieces meet."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import torch

from upbench import calibration, cards, comparable, environment, isolation, measurement, registry
from upbench.case import Case
from upbench.errors import SpecError, UpbenchError
from upbench.measure import clock, limits
from upbench.record import Latency, Record
from upbench.specs.run_spec import RunSpec
from upbench.workload import reason

AA_S = 2.0
"""Seconds of A/A runs before a comparison."""

Progress = Callable[[str, float], None]
"""Called with what is being done and the part of the whole that is done, 0 to 1."""


def _silent(what: str, part: float) -> None:
    return None


@isolation.isolated()
def validate(specs: Sequence[RunSpec]) -> None:
    """Build every spec: ours on the meta device, where nothing is computed, a user's class as it will be measured.

    Raises SpecError with all that cannot be built.
    """
    found: dict[str, BaseException] = {}
    for device in {spec.measure.device for spec in specs}:
        environment.resolve_device(device)
    for spec in specs:
        ours = spec.upsampler in cards.builtin()
        try:
            # A class that knows nothing of the meta device fails there, or keeps a tensor of it for all its instances.
            with torch.device("meta") if ours else nullcontext():
                registry.construct(spec.card, spec.setting, spec.input.seed)
        except KeyboardInterrupt:
            raise
        except UpbenchError as error:
            found[str(error)] = error
        except BaseException as error:  # noqa: BLE001 - a user's class may raise anything; it becomes one sentence
            found[f"{spec.label} cannot be built: {reason(error)}"] = error
    if found:
        raise SpecError(list(found)) from next(iter(found.values()))


def run(spec: RunSpec, progress: Progress = _silent) -> Record:
    """Measure one spec. Raises UpbenchError when it cannot be built or run."""
    return compare([spec], progress)[0]


@isolation.isolated()
def compare(
    specs: Sequence[RunSpec],
    progress: Progress = _silent,
    timed: bool = True,
) -> list[Record]:
    """Measure specs side by side: counts and memory one after another, latency in interleaved rounds.

    All specs must agree in device, threads and mode, or their times could not be compared. timed: False measures
    only what is exact, and leaves latency None. Raises UpbenchError when one cannot be built or run.
    """
    measure = specs[0].measure
    conditions = {(s.measure.device, s.measure.threads, s.measure.mode) for s in specs}
    if len(conditions) > 1:
        raise SpecError(["the upsamplers that are compared must have the same device, threads and mode"])
    if mistakes := comparable.mistakes([(s.label, comparable.of_spec(s)) for s in specs], False):
        raise SpecError(mistakes)
    device = environment.resolve_device(measure.device)
    started = now()
    steps = len(specs) * 2 + 2
    share = (steps - 2) / steps
    names = ", ".join(s.label for s in specs)
    with environment.with_threads(measure.threads):
        env = environment.capture(device)
        watch = clock.clock_for(device)
        known = calibration.load(environment.machine_key(device))
        resolution = known.resolution if known else None
        if len(specs) > 1 and timed:
            progress("A/A run: what this machine can tell apart", 0)
            resolution = limits.resolution(watch, lambda: limits.call(device), AA_S)
        cases: list[Case] = []
        parts: list[dict[str, Any]] = []
        for n, spec in enumerate(specs):
            progress(f"{spec.label}: counting", 2 * n / steps)
            cases.append(Case(spec, device, watch))
            parts.append(measurement.counts_of(cases[-1]))
            progress(f"{spec.label}: memory", (2 * n + 1) / steps)
            parts[-1]["memory"] = measurement.memory_of(cases[-1])
            parts[-1]["floor_s"] = measurement.floor_of(cases[-1], parts[-1], known)
        times: Sequence[tuple[Latency | None, list[str]]] = [(None, [])] * len(cases)
        if timed:
            progress(f"{names}: warm-up", share)
            times = measurement.times_of(
                cases, watch, measure.budget, lambda part: progress(f"{names}: latency", share + (1 - share) * part)
            )
    comparison = uuid.uuid4().hex[:12] if len(specs) > 1 else None
    return [
        Record(
            label=case.spec.label,
            spec=case.spec.to_dict(),
            started=started,
            comparison=comparison,
            resolution=resolution,
            environment=env,
            sources=registry.sources(case.spec.upsampler),
            backends=case.backends or None,
            latency=time_of,
            warnings=case.warnings + warnings,
            **part,
        )
        for case, part, (time_of, warnings) in zip(cases, parts, times, strict=True)
    ]


def now() -> str:
    """The time in UTC, to the second, as records hold it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
