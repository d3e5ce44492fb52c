"""Turns specs into records: validates them, builds what they describe, measures it and fills in the records."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial

import torch

from upbench import cards, registry
from upbench.benchmark import measurement, ready_cases, runtimes
from upbench.benchmark.case import Case
from upbench.benchmark.measurement import Progress
from upbench.benchmark.timed_case import TimedCase
from upbench.benchmark.workload import reason
from upbench.errors import SpecError, UpbenchError
from upbench.machine import environment
from upbench.measure import clock
from upbench.records.record import Record
from upbench.specs import comparable
from upbench.specs.run_spec import RunSpec
from upbench.user_code import isolation

FEW_WEIGHTS = 2**24
"""Weights that are drawn in a tenth of a second."""


def _silent(what: str, part: float) -> None:
    return None


@isolation.isolated()
def validate(specs: Sequence[RunSpec]) -> None:
    """Build every spec: for real where it has few weights, which is quickest, and a user's class, which may need to be.

    An upsampler of upbench with many weights is built on the meta device, where nothing is computed.

    Args:
        specs: The specs.

    Raises:
        SpecError: With every spec that cannot be built.
    """
    found: dict[str, BaseException] = {}
    for device in {spec.measure.device for spec in specs}:
        environment.resolve_device(device)
    for spec in specs:
        if sentence := runtimes.why_not(spec, environment.resolve_device(spec.measure.device)):
            found[sentence] = UpbenchError(sentence)
        ours = spec.upsampler in cards.builtin()
        try:
            # A class that knows nothing of the meta device fails there, or keeps a tensor of it for all its instances.
            with torch.device("meta") if ours and not _has_few_weights(spec) else nullcontext():
                registry.construct(spec.card, spec.setting, spec.input.seed)
        except KeyboardInterrupt:
            raise
        except UpbenchError as error:
            found[str(error)] = error
        except BaseException as error:  # noqa: BLE001 - a user's class may raise anything; it becomes one sentence
            found[f"{spec.label} cannot be built: {reason(error)}"] = error
    if found:
        raise SpecError(list(found)) from next(iter(found.values()))


def _has_few_weights(spec: RunSpec) -> bool:
    """Return whether drawing the weights of a spec takes less time than importing what the meta device needs."""
    count = spec.card.count_params
    return count is not None and count(spec.setting) <= FEW_WEIGHTS


def run(spec: RunSpec, progress: Progress = _silent) -> Record:
    """Measure one spec.

    Args:
        spec: The spec.
        progress: Told what is being done.

    Raises:
        UpbenchError: If it cannot be built or run.
    """
    return compare([spec], progress)[0]


@isolation.isolated()
def compare(
    specs: Sequence[RunSpec],
    progress: Progress = _silent,
    timed: bool = True,
) -> list[Record]:
    """Measure specs side by side: counts and memory one after another, latency in interleaved rounds.

    Args:
        specs: The specs. They must agree in device, threads and mode, or their times could not be compared.
        progress: Told what is being done.
        timed: False measures only exact quantities, and leaves latency None.

    Returns:
        A record of each spec, in the same order.

    Raises:
        UpbenchError: If the specs disagree, or one cannot be built or run.
    """
    if mistakes := comparable.mistakes([(s.label, comparable.of_spec(s)) for s in specs], False):
        raise SpecError(mistakes)
    # A second build is cheap unless it is compiled once more.
    again = partial(TimedCase, specs[0]) if specs[0].measure.run_by == "torch" else None
    found = measurement.measure(specs, [partial(_case, spec) for spec in specs], progress, timed, again=again)
    return [
        Record(
            label=spec.label,
            spec=spec.to_dict(),
            sources=registry.sources(spec.upsampler),
            runtime=one.work.runtime,
            execution=one.work.execution,
            **one.work.choices(),
            **found.shared,
            **one.fields,
        )
        for spec, one in zip(specs, found.measured, strict=True)
    ]


def _case(spec: RunSpec, device: torch.device, watch: clock.Clock) -> Case:
    """Return the case that checks have built, or a new one."""
    return ready_cases.take(spec, device) or Case(spec, device, watch)
