"""An upsampler in a host: one module for each stage, measured as one call that runs them all, one after another.

Latency, MACs and parameters are those of all stages. Memory: the output of every stage is kept until the last one
has run, as a feature pyramid keeps its merged levels; the backbone, the laterals and the heads are not run.
"""

from __future__ import annotations

import inspect
import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from upbench import calibration, environment, registry, run
from upbench.case import Case, explained
from upbench.conventions import Breakdown
from upbench.errors import SpecError
from upbench.measure import clock, graph, latency, limits, output
from upbench.papers import Host, Stage
from upbench.record import Macs, Record, Routes
from upbench.spec import RunSpec


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
        x, *guides = self.inputs
        self.inputs = (x, *(cropped(guide).requires_grad_() for guide in guides))
        self.output_gradient = cropped(self.output_gradient)
        out = self.forward()
        self.output_bytes = out.numel() * out.element_size()
        self.output = output.describe(out)


class Neck:
    """All stages of a host with one upsampler: what `run` asks of a case, for all of them together."""

    def __init__(self, stages: Sequence[StageCase]) -> None:
        self.stages = stages
        self.spec, self.device = stages[0].spec, stages[0].device
        self.warnings: list[str] = []
        self.plain = nn.ModuleList([stage.plain for stage in stages])
        self.inputs = tuple(tensor for stage in stages for tensor in stage.inputs)
        self.output_bytes = sum(stage.output_bytes for stage in stages)
        self.first_call_s = sum(stage.first_call_s for stage in stages)
        self.backends = {op: name for stage in stages for op, name in stage.backends.items()}

    def forward(self) -> list[Tensor]:
        """One call of every stage without autograd."""
        return [stage.forward() for stage in self.stages]

    def training_forward(self) -> list[Tensor]:
        """One call of every stage that records what backward will need."""
        return [stage.training_forward() for stage in self.stages]

    def training(self) -> list[Tensor]:
        """Forward through all stages, then backward through all; gradients are dropped."""
        outs = self.training_forward()
        torch.autograd.backward(outs, self._gradients())
        for tensor in (*self.inputs, *self.plain.parameters()):
            tensor.grad = None
        return [out.detach() for out in outs]

    def call(self) -> Callable[[], object]:
        """What the spec's mode measures."""
        mode = self.spec.measure.mode
        if mode == "training-backward":
            outs = self.training_forward()
            leaves = [t for t in (*self.inputs, *self.plain.parameters()) if t.requires_grad]
            return lambda: torch.autograd.grad(outs, leaves, self._gradients(), retain_graph=True, allow_unused=True)
        return {"inference": self.forward, "training": self.training, "training-forward": self.training_forward}[mode]

    def _gradients(self) -> list[Tensor]:
        return [stage.output_gradient for stage in self.stages]


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
            counted.append([run.counts_of(case) for case in neck.stages])
            progress(f"{specs[0].label}: memory", 0.4 * (n + 0.5) / len(necks))
            totals.append({**_sum(counted[-1]), "memory": run.memory_of(cast(Case, neck))})
            totals[-1]["floor_s"] = run.floor_of(cast(Case, neck), totals[-1], known)
            for case, own in zip(neck.stages, counted[-1], strict=True) if by_stage else ():
                own["memory"] = run.memory_of(case)
                own["floor_s"] = run.floor_of(case, own, known)
            neck.warnings += _merged({c.stage.name: c.warnings for c in neck.stages})
        base = {"started": started, "resolution": resolution, "environment": env}
        share = 0.3 if by_stage else 0.6

        def timed(cases: Sequence[Any], budget: float, at: float, part: float) -> list[dict[str, Any]]:
            calls = [case.call() for case in cases]
            taken = latency.measure(calls, watch, budget, lambda p: progress(f"{names}: latency", at + part * p))
            others = [graph.measure(call, device) for call in calls]
            return [_timed(*each, watch) for each in zip(cases, taken, others, strict=True)]

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


def _timed(case: Case, timing: latency.Timing, other: graph.Other, watch: clock.Clock) -> dict[str, Any]:
    more = run.timing_warnings(timing) + other.warnings(timing.samples_s)
    return {"latency": run.latency_of(case, watch, timing, other), "warnings": [*case.warnings, *more]}


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
    """The counts of all stages together."""
    total: dict[str, Any] = {key: sum(part[key] for part in parts) for key in ("params", "params_trainable", "buffers")}
    known = None not in [part["macs"] for part in parts]
    total["macs"] = (
        Macs(**{key: sum(getattr(part["macs"], key) for part in parts) for key in Macs.model_fields}) if known else None
    )
    for key in ("macs_by_op", "uncounted", "missing"):
        total[key] = _added(part[key] for part in parts)
    total["breakdown"] = Breakdown(
        **{f.name: sum(getattr(part["breakdown"], f.name) for part in parts) for f in fields(Breakdown)}
    )
    routes: list[Routes] = [part["routes"] for part in parts]
    closed = [route.closed for route in routes]
    total["routes"] = Routes(
        closed=None if None in closed else _added(cast(list[dict[str, int]], closed)),
        torch=_added(route.torch for route in routes),
        torch_uncounted=_added(route.torch_uncounted for route in routes),
    )
    operators = [part["op_count"] for part in parts]
    total["op_count"] = None if None in operators else sum(operators)
    return total


def _added(counts: Any) -> dict[str, int]:
    total: Counter[str] = Counter()
    for count in counts:
        total.update(count)
    return dict(total)
