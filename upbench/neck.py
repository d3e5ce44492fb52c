"""An upsampler in a host: one module for each stage, measured as one call that runs them all, one after another.

Latency, MACs and parameters are those of all stages. Memory: the output of every stage is kept until the last one
has run, as a feature pyramid keeps its merged levels; the backbone, the laterals and the heads are not run.
"""

from __future__ import annotations

import inspect
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from upbench import calibration, environment, isolation, measurement, registry, run
from upbench.case import Case
from upbench.conventions import Breakdown
from upbench.errors import SpecError
from upbench.measure import clock, limits, output
from upbench.papers import Host, Stage
from upbench.record import Macs, Record, Routes
from upbench.specs.run_spec import RunSpec
from upbench.workload import Workload, explained


@dataclass(frozen=True)
class Measured:
    """One upsampler in a host: the record of all stages together, and one of each stage.

    The records of stages have latency and memory, each of that stage alone, where they were asked for.
    """

    total: Record
    stages: tuple[Record, ...]


class Cropped(nn.Module):
    """An upsampler whose output is cropped to `size`, and whose guide has this size.

    Ours take a `size`; for others the guide is extended by its last row and column to `full`, and the output cropped.
    """

    def __init__(self, inner: nn.Module, size: tuple[int, int], full: tuple[int, int]) -> None:
        super().__init__()
        self.inner, self.size, self.full = inner, size, full
        self.takes_size = "size" in inspect.signature(inner.forward).parameters

    def forward(self, x: Tensor, *guide: Tensor) -> Tensor:
        if self.takes_size:
            return self.inner(x, *guide, size=self.size)
        more = (0, self.full[1] - self.size[1], 0, self.full[0] - self.size[0])
        wide = [F.pad(g, more, mode="replicate") for g in guide]
        return self.inner(x, *wide)[:, :, : self.size[0], : self.size[1]]


class StageCase(Case):
    """A case whose output has the size of a stage's. `first_call_s` is that of the call before it is cropped."""

    def __init__(self, spec: RunSpec, stage: Stage, device: torch.device, watch: clock.Clock) -> None:
        super().__init__(spec, device, watch)
        self.stage = stage
        size, full = (stage.out_height, stage.out_width), (spec.setting.out_height, spec.setting.out_width)
        if size != full:
            with explained(spec):
                self._crop(size, full)

    def _crop(self, size: tuple[int, int], full: tuple[int, int]) -> None:
        def cropped(tensor: Tensor) -> Tensor:
            layout = (
                torch.channels_last if self.spec.input.memory_format == "channels_last" else torch.contiguous_format
            )
            return tensor.detach()[:, :, : size[0], : size[1]].contiguous(memory_format=layout)

        self.plain = self.module = Cropped(self.plain, size, full)
        if self.spec.measure.compile != "off":
            self.module = torch.compile(self.plain, mode=self.spec.measure.compile)
        x, *guides = self.leaf_inputs
        self.inputs = self.leaf_inputs = (x, *(cropped(guide).requires_grad_() for guide in guides))
        self.output_gradient = cropped(self.output_gradient)
        with self.guarded():
            out = self.forward()
        self.output_bytes = out.numel() * out.element_size()
        self.output = self.attempt("the output could not be described", lambda: output.describe(out))


class Neck(Workload):
    """All stages of a host with one upsampler, called one after another."""

    def __init__(self, stages: Sequence[StageCase]) -> None:
        self.stages = stages
        self.spec, self.device = stages[0].spec, stages[0].device
        self.warnings: list[str] = []
        self.plain = nn.ModuleList([stage.plain for stage in stages])
        self.leaf_inputs = tuple(tensor for stage in stages for tensor in stage.leaf_inputs)
        self.output_bytes = sum(stage.output_bytes for stage in stages)
        self.first_call_s = sum(stage.first_call_s for stage in stages)
        self.backends = {op: name for stage in stages for op, name in stage.backends.items()}
        self.changes = tuple(dict.fromkeys(name for stage in stages for name in stage.changes))
        self.prepare()

    @property
    def writes(self) -> bool:
        """Whether a call writes to the inputs of a stage."""
        return any(stage.writes for stage in self.stages)

    def prepare(self) -> None:
        """Make the inputs of every stage what its spec says, where calls write to them."""
        for stage in self.stages:
            stage.prepare()
        self.inputs = tuple(tensor for stage in self.stages for tensor in stage.inputs)

    def to_inference(self) -> None:
        """Let every later forward of every stage run in inference mode."""
        for stage in self.stages:
            stage.to_inference()

    def forward(self) -> list[Tensor]:
        """One call of every stage without autograd."""
        return [stage.forward() for stage in self.stages]

    def training_forward(self) -> list[Tensor]:
        """One call of every stage that records what backward will need."""
        return [stage.training_forward() for stage in self.stages]

    def output_gradients(self) -> list[Tensor]:
        """What backward starts from, a tensor for every stage."""
        return [stage.output_gradient for stage in self.stages]


@isolation.isolated()
def compare(
    necks: Sequence[Sequence[RunSpec]], host: Host, by_stage: bool = False, progress: run.Progress = lambda w, p: None
) -> list[Measured]:
    """Measure upsamplers in a host, latency in interleaved rounds. necks: of each upsampler a spec for every stage.

    by_stage: also measure every stage alone; its latency takes as long again. Raises UpbenchError when one cannot be
    built or run.
    """
    first = necks[0][0].measure
    conditions = {(s.measure.device, s.measure.threads, s.measure.mode) for specs in necks for s in specs}
    if len(conditions) > 1:
        raise SpecError(["the upsamplers that are compared must have the same device, threads and mode"])
    device = environment.resolve_device(first.device)
    started = run.now()
    names = ", ".join(specs[0].label for specs in necks)
    with environment.with_threads(first.threads):
        env = environment.capture(device)
        watch = clock.clock_for(device)
        known = calibration.load(environment.machine_key(device))
        resolution = known.resolution if known else None
        if len(necks) > 1:
            progress("A/A run: what this machine can tell apart", 0)
            resolution = limits.resolution(watch, lambda: limits.call(device), run.AA_S)
        built: list[Neck] = []
        counted: list[list[dict[str, Any]]] = []
        totals: list[dict[str, Any]] = []
        for n, specs in enumerate(necks):
            progress(f"{specs[0].label}: counting", 0.4 * n / len(necks))
            neck = Neck([StageCase(spec, stage, device, watch) for spec, stage in zip(specs, host.stages, strict=True)])
            built.append(neck)
            counted.append([measurement.counts_of(case) for case in neck.stages])
            progress(f"{specs[0].label}: memory", 0.4 * (n + 0.5) / len(necks))
            totals.append({**_sum(counted[-1]), "memory": measurement.memory_of(neck)})
            totals[-1]["floor_s"] = measurement.floor_of(neck, totals[-1], known)
            for case, own in zip(neck.stages, counted[-1], strict=True) if by_stage else ():
                own["memory"] = measurement.memory_of(case)
                own["floor_s"] = measurement.floor_of(case, own, known)
            neck.warnings += _merged({c.stage.name: c.warnings for c in neck.stages})
        base = {"started": started, "resolution": resolution, "environment": env}
        share = 0.3 if by_stage else 0.6

        def timed(works: Sequence[Workload], budget: float, at: float, part: float) -> list[dict[str, Any]]:
            taken = measurement.times_of(
                works, watch, budget, lambda done: progress(f"{names}: latency", at + part * done)
            )
            return [
                {"latency": time_of, "warnings": [*work.warnings, *more]}
                for work, (time_of, more) in zip(works, taken, strict=True)
            ]

        times = timed(built, first.budget, 0.4, share)
        stage_times: list[list[dict[str, Any]]] = []
        if by_stage:
            budget, part = first.budget / len(host.stages), share / len(host.stages)
            for n in range(len(host.stages)):
                stage_times.append(timed([neck.stages[n] for neck in built], budget, 0.7 + n * part, part))
    comparison = uuid.uuid4().hex[:12] if len(necks) > 1 else None
    return [
        Measured(
            total=Record(
                label=neck.spec.label,
                spec=_spec(neck.spec, host),
                comparison=comparison,
                sources=registry.sources(neck.spec.upsampler),
                backends=neck.backends or None,
                **{**base, **totals[n], **times[n]},
            ),
            stages=tuple(
                Record(
                    label=neck.spec.label,
                    spec=case.spec.to_dict(),
                    axes={"upsampler": neck.spec.label, "stage": stage.name},
                    comparison=f"{comparison}-{stage.name}" if comparison else None,
                    sources=registry.sources(neck.spec.upsampler),
                    backends=case.backends or None,
                    **{**base, "warnings": case.warnings, **counted[n][m], **(stage_times[m][n] if by_stage else {})},
                )
                for m, (case, stage) in enumerate(zip(neck.stages, host.stages, strict=True))
            ),
        )
        for n, neck in enumerate(built)
    ]


def _merged(warnings: Mapping[str, Sequence[str]]) -> list[str]:
    """The warnings of all stages, each with the stages that it is not about all of."""
    where: dict[str, list[str]] = {}
    for name, texts in warnings.items():
        for text in dict.fromkeys(texts):
            where.setdefault(text, []).append(name)
    return [text if len(names) == len(warnings) else f"{', '.join(names)}: {text}" for text, names in where.items()]


def _spec(spec: RunSpec, host: Host) -> dict[str, Any]:
    """What was measured: the spec that the stages share, and the host with its stages."""
    data = spec.to_dict()
    own = ("channels", "guide_channels", "scale")
    shared = {key: value for key, value in data.items() if key not in own}
    shared["input"] = {key: value for key, value in data["input"].items() if key != "shape"}
    shared["input"]["batch"] //= host.stages[0].batch
    return {**shared, "host": host.model_dump(mode="json", include={"name", "input", "stages"})}


def _sum(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The counts of all stages together; None for what could not be counted in one of them."""

    def whole(key: str, add: Callable[[list[Any]], Any]) -> Any:
        values = [part[key] for part in parts]
        return None if None in values else add(values)

    def fields_of(kind: Any, names: Iterable[str]) -> Callable[[list[Any]], Any]:
        return lambda values: kind(**{name: sum(getattr(value, name) for value in values) for name in names})

    total = {key: whole(key, sum) for key in ("params", "params_trainable", "buffers", "op_count")}
    total |= {key: whole(key, _added) for key in ("macs_by_op", "uncounted", "missing")}
    total["macs"] = whole("macs", fields_of(Macs, Macs.model_fields))
    total["breakdown"] = whole("breakdown", fields_of(Breakdown, [field.name for field in fields(Breakdown)]))
    total["routes"] = whole("routes", _routes)
    return total


def _routes(parts: Sequence[Routes]) -> Routes:
    closed = [route.closed for route in parts if route.closed is not None]
    return Routes(
        closed=_added(closed) if len(closed) == len(parts) else None,
        torch=_added(route.torch for route in parts),
        torch_uncounted=_added(route.torch_uncounted for route in parts),
    )


def _added(counts: Any) -> dict[str, int]:
    total: Counter[str] = Counter()
    for count in counts:
        total.update(count)
    return dict(total)
