"""An upsampler in a host: one module for each stage, measured as one call that runs them all, one after another.

Latency, MACs and parameters are those of all stages. Memory: the output of every stage is kept until the last one
has run, as a feature pyramid keeps its merged levels; the backbone, the laterals and the heads are not run.
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from upbench import registry
from upbench.benchmark import measurement
from upbench.benchmark.case import Case
from upbench.benchmark.measurement import Progress
from upbench.benchmark.workload import Workload, explained
from upbench.conventions import Breakdown
from upbench.measure import clock, output
from upbench.papers import Host, Stage
from upbench.records.record import CrossCheck, Macs, Record
from upbench.specs.run_spec import RunSpec
from upbench.user_code import isolation


@dataclass(frozen=True)
class Measured:
    """The records of one upsampler in a host.

    Args:
        total: Record of all stages together.
        stages: Record of each stage; with latency and memory, of that stage alone, only where these were requested.
    """

    total: Record
    stages: tuple[Record, ...]


class Cropped(nn.Module):
    """An upsampler whose output is cropped to `size`, and whose guide has this size.

    Upsamplers of upbench take a `size`; for others the guide is extended by its last row and column to `full`, and the
    output is cropped.

    Args:
        inner: The upsampler.
        size: Height and width of the cropped output.
        full: Height and width of the output of `inner`.
    """

    def __init__(self, inner: nn.Module, size: tuple[int, int], full: tuple[int, int]) -> None:
        super().__init__()
        self.inner, self.size, self.full = inner, size, full
        self.takes_size = "size" in inspect.signature(inner.forward).parameters

    def forward(self, x: Tensor, *guide: Tensor) -> Tensor:
        """Return the output of the upsampler, [B, C, *size].

        Args:
            x: Low-resolution feature [B, C, H, W].
            guide: High-resolution guide [B, guide channels, *size], where the upsampler takes one.
        """
        if self.takes_size:
            return self.inner(x, *guide, size=self.size)
        more = (0, self.full[1] - self.size[1], 0, self.full[0] - self.size[0])
        wide = [F.pad(g, more, mode="replicate") for g in guide]
        return self.inner(x, *wide)[:, :, : self.size[0], : self.size[1]]


class StageCase(Case):
    """A case whose output has the size of a stage. `first_call_s` is that of the call before the output is cropped."""

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

        self.plain = Cropped(self.plain, size, full)
        x, *guides = self.leaf_inputs
        # An image or a hidden state has a size of its own and stays as it is.
        sized = [cropped(guide) if tuple(guide.shape[2:]) == full else guide.detach() for guide in guides]
        self.inputs = self.leaf_inputs = (x, *(guide.requires_grad_() for guide in sized))
        self._prepare_runtime()
        self.gradients = [cropped(gradient) for gradient in self.gradients]
        with self.guarded():
            out = self.forward()
        self.output_bytes = output.size_bytes(out)
        self.output = self.attempt("the output could not be described", lambda: output.describe(out))


class HostCase(Workload):
    """All stages of a host with one upsampler, called one after another."""

    def __init__(self, stages: Sequence[StageCase]) -> None:
        self.stages = self.parts = stages
        self.spec, self.device = stages[0].spec, stages[0].device
        self.runtime = stages[0].runtime
        self.warnings: list[str] = []
        self.plain = nn.ModuleList([stage.plain for stage in stages])
        self.leaf_inputs = tuple(tensor for stage in stages for tensor in stage.leaf_inputs)
        self.output_bytes = sum(stage.output_bytes for stage in stages)
        self.first_call_s = sum(stage.first_call_s for stage in stages)
        self.backends = {op: name for stage in stages for op, name in stage.backends.items()}
        self.reasons = {op: why for stage in stages for op, why in stage.reasons.items()}
        self.changes = tuple(dict.fromkeys(name for stage in stages for name in stage.changes))
        self.prepare()

    def all_warnings(self) -> list[str]:
        """Return its own warnings, then those of its stages, each with the names of the stages that have it."""
        return [*self.warnings, *_merged({stage.stage.name: stage.warnings for stage in self.stages})]

    def counts(self, parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Return the counts of all stages together, by name."""
        return _sum(parts)

    @property
    def writes(self) -> bool:
        """Whether a call writes to the inputs of a stage."""
        return any(stage.writes for stage in self.stages)

    def prepare(self) -> None:
        """Restore the inputs that the spec of every stage describes, where calls write to them."""
        for stage in self.stages:
            stage.prepare()
        self.inputs = tuple(tensor for stage in self.stages for tensor in stage.inputs)

    def to_inference(self) -> None:
        """Let every later forward of every stage run in inference mode."""
        for stage in self.stages:
            stage.to_inference()

    def forward(self) -> list[Tensor]:
        """One call of every stage without autograd: the maps of all."""
        return [each for stage in self.stages for each in output.maps(stage.forward())]

    def training_forward(self) -> list[Tensor]:
        """Run one call of every stage that records what backward will need, and return the outputs."""
        return [each for stage in self.stages for each in output.maps(stage.training_forward())]

    def output_gradients(self) -> list[Tensor]:
        """What backward starts from, a tensor for every map of every stage."""
        return [gradient for stage in self.stages for gradient in stage.output_gradients()]


@isolation.isolated()
def compare(
    necks: Sequence[Sequence[RunSpec]],
    host: Host,
    by_stage: bool = False,
    progress: Progress = lambda w, p: None,
    timed: bool = True,
) -> list[Measured]:
    """Measure upsamplers in a host, latency in interleaved rounds.

    Args:
        necks: Of each upsampler a spec for every stage.
        host: The host.
        by_stage: Whether to also measure every stage alone; its latency takes as long again.
        progress: Told what is being done.
        timed: False measures only exact quantities, and leaves latency None.

    Raises:
        UpbenchError: If one cannot be built or run.
    """

    def build(specs: Sequence[RunSpec], device: torch.device, watch: clock.Clock) -> HostCase:
        return HostCase([StageCase(spec, stage, device, watch) for spec, stage in zip(specs, host.stages, strict=True)])

    every = [spec for specs in necks for spec in specs]
    found = measurement.measure(every, [partial(build, specs) for specs in necks], progress, timed, by_part=by_stage)
    return [_records(one, host, found.shared) for one in found.measured]


def _records(one: measurement.Measured, host: Host, shared: Mapping[str, Any]) -> Measured:
    """Return the record of all stages of one upsampler together, and one of each stage."""
    label, sources = one.work.spec.label, registry.sources(one.work.spec.upsampler)

    def record(part: measurement.Measured, spec: dict[str, Any], **more: Any) -> Record:
        fields = {**shared, **part.fields, **more}
        return Record(
            label=label,
            spec=spec,
            sources=sources,
            runtime=part.work.runtime,
            **part.work.choices(),
            **fields,
        )

    comparison = shared["comparison"]
    return Measured(
        total=record(one, _spec(one.work.spec, host)),
        stages=tuple(
            record(
                part,
                part.work.spec.to_dict(),
                axes={"upsampler": label, "stage": stage.name},
                comparison=f"{comparison}-{stage.name}" if comparison else None,
            )
            for part, stage in zip(one.parts, host.stages, strict=True)
        ),
    )


def _merged(warnings: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the warnings of all stages, each with the names of its stages unless all have it."""
    where: dict[str, list[str]] = {}
    for name, texts in warnings.items():
        for text in dict.fromkeys(texts):
            where.setdefault(text, []).append(name)
    return [text if len(names) == len(warnings) else f"{', '.join(names)}: {text}" for text, names in where.items()]


def _spec(spec: RunSpec, host: Host) -> dict[str, Any]:
    """Return the spec that the stages share, with the host and its stages."""
    data = spec.to_dict()
    own = ("channels", "guide_channels", "scale")
    shared = {key: value for key, value in data.items() if key not in own}
    shared["input"] = {key: value for key, value in data["input"].items() if key != "shape"}
    shared["input"]["batch"] //= host.stages[0].batch
    return {**shared, "host": host.model_dump(mode="json", include={"name", "input", "stages"})}


def _sum(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the counts of all stages together; None for what could not be counted in one of them."""

    def whole(key: str, add: Callable[[list[Any]], Any]) -> Any:
        values = [part[key] for part in parts]
        return None if None in values else add(values)

    def fields_of(kind: Any, names: Iterable[str]) -> Callable[[list[Any]], Any]:
        return lambda values: kind(**{name: sum(getattr(value, name) for value in values) for name in names})

    total = {key: whole(key, sum) for key in ("params", "params_trainable", "buffers", "op_count")}
    total |= {key: whole(key, _added) for key in ("macs_by_op", "uncounted", "missing")}
    total["macs"] = whole("macs", fields_of(Macs, Macs.model_fields))
    total["breakdown"] = whole("breakdown", fields_of(Breakdown, [field.name for field in fields(Breakdown)]))
    total["cross_check"] = whole("cross_check", _cross_check)
    return total


def _cross_check(parts: Sequence[CrossCheck]) -> CrossCheck:
    closed = [route.closed for route in parts if route.closed is not None]
    return CrossCheck(
        closed=_added(closed) if len(closed) == len(parts) else None,
        torch=_added(route.torch for route in parts),
        torch_uncounted=_added(route.torch_uncounted for route in parts),
    )


def _added(counts: Any) -> dict[str, int]:
    total: Counter[str] = Counter()
    for count in counts:
        total.update(count)
    return dict(total)
