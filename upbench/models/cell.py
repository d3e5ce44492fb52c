"""One cell of a sweep with a model: the model with one upsampler in it, counted, or built to be timed."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import torch
from torch import nn

from upbench.benchmark import measurement, timed_case
from upbench.benchmark.measurement import Progress
from upbench.errors import UpbenchError
from upbench.measure import clock
from upbench.models import model_case, repeating, replacing
from upbench.models.job import ModelJob
from upbench.models.model_case import Called, ModelCase
from upbench.models.site import Site
from upbench.records.record import Record
from upbench.specs import run_spec
from upbench.specs.run_spec import RunSpec
from upbench.user_code import isolation


@isolation.isolated()
def record(spec: RunSpec, progress: Progress = lambda what, part: None) -> Record:
    """Check and count a cell: the fields of its record, without latency.

    Args:
        spec: The spec, with a model.
        progress: Told what is being done.

    Raises:
        UpbenchError: If the model or the upsampler cannot be built or run, or the check of the model fails.
    """
    built = _host(spec)
    built.check()
    found = measurement.measure([spec], [partial(_case, spec)], progress, timed=False)
    (one,) = found.measured
    fields = one.fields | {"warnings": [*built.notes, *one.fields["warnings"]]}
    return Record(
        label=spec.label,
        spec=spec.to_dict(),
        sources=spec.sources(),
        runtime=one.work.runtime,
        **one.work.choices(),
        **found.shared,
        **fields,
    )


def call_of(spec: RunSpec, device: torch.device) -> Callable[[], object]:
    """Return the call of the model that the mode of the spec measures, see `timed_case.call_of`.

    Args:
        spec: The spec, with a model.
        device: Where it runs.
    """
    return timed_case.call_of(spec, device, _case)


def _case(spec: RunSpec, device: torch.device, watch: clock.Clock) -> ModelCase:
    return ModelCase(spec, Called(*module(spec)), device, watch)


def module(spec: RunSpec) -> tuple[nn.Module, tuple[Any, ...], dict[str, Any]]:
    """Return the model with the upsampler in it, and what it is called with.

    Args:
        spec: The spec, with a model.
    """
    built = _host(spec)
    made = replacing.replace(
        repeating.shared_copy(built.model),
        spec.upsampler,
        [site.name for site in built.meant],
        sites=built.listed,
        seed=spec.input.seed,
        backend=spec.measure.backend,
        **spec.params,
    )
    if why := replacing.load_upsamplers(made, built.trained):
        file = built.job.weights
        raise UpbenchError(
            f"--weights {file}: its upsamplers are not those that {spec.upsampler} puts into the model: {why}"
        )
    return made, built.args, built.kwargs


class _Host:
    """A model that all cells of a sweep share, with its inputs and the calls that are replaced."""

    def __init__(self, job: ModelJob, device: torch.device) -> None:
        self.job = job
        self.model: nn.Module
        self.args: tuple[Any, ...]
        self.kwargs: dict[str, Any]
        self.trained: dict[str, Any]
        base = run_spec.load(job.spec, "the model's spec")
        self.model, self.args, self.kwargs, self.trained = model_case.built(job, base, device)
        self.notes = model_case.fix_proposals(self.model)
        self.listed: list[Site] = replacing.list_sites(self.model, self.args, self.kwargs)
        self.meant = replacing.chosen(self.listed, job.where)
        if not self.meant:
            raise UpbenchError(
                f"{job.model} makes no upsampling call on a feature map; see `upbench sites {job.model}`"
            )
        self._checked = False

    def check(self) -> None:
        """Raise UpbenchError unless the model with its own calls repeated returns the same bits; once."""
        if not self._checked:
            repeating.check_repeated(self.job.model, self.model, self.listed, self.meant, self.args, self.kwargs)
            self._checked = True


def _host(spec: RunSpec) -> _Host:
    assert spec.model is not None, "only specs with a model come here"
    device = "cpu" if spec.measure.device == "auto" else spec.measure.device
    return _kept(
        json.dumps(spec.model.model_dump(mode="json"), sort_keys=True), spec.input.batch, spec.input.seed, device
    )


@lru_cache(maxsize=1)
def _kept(model: str, batch: int, seed: int, device: str) -> _Host:
    """Return the model of the last call, where that is the same: cells share its weights."""
    data = json.loads(model)
    image = [int(n) for n in data["input"].split("x")] if "input" in data else None
    spec = {"upsampler": "nearest", "input": {"seed": seed}}
    where = data.get("where")
    job = ModelJob(
        data["name"], [], spec, data.get("args", {}), data.get("weights"), image, data.get("inputs"), batch, where
    )
    return _Host(job, torch.device(device))
