"""A whole model as a workload: with its own upsampling, and with other upsamplers in its place.

All copies share the weights of one model. Latency, memory and MACs are those of the model's own forward.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from upbench import ops
from upbench.benchmark import measurement
from upbench.benchmark.measurement import Progress
from upbench.benchmark.workload import RunError, Workload, explained
from upbench.errors import UpbenchError
from upbench.machine import environment
from upbench.measure import clock, cross_check, dispatched, output, params
from upbench.models import advice, example_inputs, factory, length, repeating, replacing
from upbench.models.job import AS_IT_IS, NOTICE, InModel, ModelJob
from upbench.models.recording import tensors
from upbench.records.record import CrossCheck, Macs, Output, Record
from upbench.specs import run_spec
from upbench.specs.run_spec import RunSpec
from upbench.user_code import isolation


class Called(nn.Module):
    """A model with its inputs: a call takes nothing and returns the tensors of the output.

    Args:
        model: The model.
        args: Its positional inputs.
        kwargs: Its keyword inputs.
    """

    def __init__(self, model: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        super().__init__()
        self.model = model
        self.args, self.kwargs = tuple(args), dict(kwargs)

    def forward(self) -> list[Tensor]:
        """Return every tensor of the model's output; of a dict of losses its sum alone."""
        out = self.model(*self.args, **self.kwargs)
        if self.training and isinstance(out, Mapping) and out and all(_is_loss(value) for value in out.values()):
            return [torch.stack(list(out.values())).sum()]
        loss = getattr(out, "loss", None)
        return [loss] if self.training and isinstance(loss, Tensor) else list(tensors((out,)))


def _is_loss(value: Any) -> bool:
    return isinstance(value, Tensor) and value.dim() == 0 and value.requires_grad


class _Spec(RunSpec):
    """The spec that instruments need of a model with an upsampler in it; its label names the upsampler alone."""

    shown: str = ""

    @property
    def label(self) -> str:
        """The label of the upsampler."""
        return self.shown


class ModelCase(Workload):
    """One model with one upsampler in it.

    Args:
        spec: Spec whose label, seed and `measure` hold.
        called: The model with its inputs.
        device: Where it runs.
        watch: Times the first call.
    """

    def __init__(self, spec: RunSpec, called: Called, device: torch.device, watch: clock.Clock) -> None:
        self.spec, self.device, self.plain = spec, device, called
        self.runtime, self.warnings = "torch", list[str]()
        self.inputs, self.reasons = (), dict[str, str]()
        self.leaf_inputs = tuple(tensors((called.args, called.kwargs)))
        self._no_autograd: Any = torch.no_grad
        called.train(spec.measure.mode != "inference")
        kept: list[list[Tensor]] = []
        with explained(spec), ops.recorded(self.reasons) as self.backends, self.guarded():
            self.first_call_s = watch.time_s(lambda: kept.append(self.forward()), 1)
        self.output_bytes = sum(each.numel() * each.element_size() for each in kept[0])
        floating = [each for each in kept[0] if each.is_floating_point()]
        self.described: Output | None = output.describe(floating) if floating else None

    def forward(self) -> list[Tensor]:
        """Run one call without autograd and return the tensors of its output."""
        with self._no_autograd():
            return self.plain()  # type: ignore[no-any-return]

    def training_forward(self) -> list[Tensor]:
        """Run one call that records what backward will need, and return what backward starts from."""
        made = [each for each in self.plain() if each.is_floating_point() and each.requires_grad]
        if not made:
            raise RunError(
                f"{self.spec.label}: the model returned nothing that a gradient can be taken of; give inputs with targets by "
                "--model-input, or measure it in mode inference"
            )
        self._gradients = [torch.ones_like(each) for each in made]
        return made

    def output_gradients(self) -> list[Tensor]:
        """Return ones: backward is that of the sum of all float outputs, or of the model's own loss."""
        return self._gradients

    def prepare(self) -> None:
        """Do nothing: inputs are those of every call."""

    def to_inference(self) -> None:
        """Let every later forward run in inference mode."""
        self._no_autograd = torch.inference_mode

    @property
    def writes(self) -> bool:
        """Whether a call writes to its inputs; a model's inputs are not watched."""
        return False

    def counts(self, parts: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
        """Return what is counted of the whole model, operator by operator as torch dispatches them."""
        size = self.attempt("parameters could not be counted", lambda: params.count(self.plain))
        counted = self.attempt("MACs could not be counted", lambda: dispatched.count(self.plain, ()))
        seen = self.attempt("MACs could not be counted by torch", lambda: cross_check.torch_count(self.plain, ()))
        operators = self.attempt("operators could not be counted", lambda: output.ran(self.plain, ()).operators)
        if counted and counted.uncounted:
            listed = ", ".join(f"{name} ({n}x)" for name, n in counted.uncounted.items())
            self.warnings.append(f"not counted in the MACs: {listed}")
        return {
            "params": size and size.total,
            "params_trainable": size and size.trainable,
            "buffers": size and size.buffers,
            "macs": Macs(**counted.by_kind, total=counted.total) if counted else None,
            "macs_by_op": counted and counted.by_op,
            "uncounted": counted and counted.uncounted,
            "missing": None,
            "cross_check": seen and CrossCheck(closed=None, torch=seen.by_kind, torch_uncounted=seen.uncounted),
            "breakdown": None,
            "op_count": operators,
            "output": self.described,
        }


@isolation.isolated()
def compare(job: ModelJob, progress: Progress = lambda what, part: None) -> list[InModel]:
    """Measure a model as it is and with each upsampler, latency in interleaved rounds.

    Before anything is timed, the model with every chosen call repeated has to return the same bits as the model itself, and
    every chosen call has to run.

    Args:
        job: The model and the upsamplers.
        progress: Told what is being done.

    Raises:
        UpbenchError: If the model or an upsampler cannot be built or run, or a check fails.
    """
    base_spec = run_spec.load(job.spec, "the model's spec")
    device = environment.resolve_device(base_spec.measure.device)
    progress("building the model", 0)
    model, args, kwargs, trained = built(job, base_spec, device)
    notes = fix_proposals(model)
    listed = replacing.list_sites(model, args, kwargs)
    meant = replacing.chosen(listed, job.where)
    if not meant:
        raise UpbenchError(
            f"{job.model} makes no upsampling call on a feature map; `upbench sites` lists what it makes"
        )
    progress("checking that replacing changes nothing by itself", 0)
    call_s = repeating.check_repeated(job.model, model, listed, meant, args, kwargs)
    if sentence := length.told(job, model, listed, call_s):
        progress(sentence, NOTICE)
    works: list[tuple[_Spec, nn.Module]] = [(_spec(base_spec, AS_IT_IS), model)]
    misfits: dict[str, str] = {}
    for row in job.rows:
        with advice.on_parameters(row["upsampler"], len(job.rows) == 1):
            made = replacing.replace(
                repeating.shared_copy(model),
                row["upsampler"],
                [site.name for site in meant],
                sites=listed,
                seed=base_spec.input.seed,
                backend=row.get("backend", "auto"),
                **row.get("params", {}),
            )
        works.append((_spec(base_spec, row["label"]), made))
        if why := replacing.load_upsamplers(made, trained):
            misfits[row["label"]] = why
    notes += _untrained(job, misfits)

    def build(spec: RunSpec, module: nn.Module, on: torch.device, watch: clock.Clock) -> ModelCase:
        return ModelCase(spec, Called(module, args, kwargs), on, watch)

    found = measurement.measure(
        [spec for spec, _ in works],
        [partial(build, spec, module) for spec, module in works],
        progress,
        timed=job.timed,
        again=partial(build, works[0][0], repeating.shared_copy(model)),
    )
    results = []
    for (spec, module), one in zip(works, found.measured, strict=True):
        record = Record(
            label=spec.label,
            spec=_described(job, spec),
            runtime=one.work.runtime,
            **one.work.choices(),
            **found.shared,
            **one.fields,
        )
        with environment.with_threads(spec.measure.threads):
            share = repeating.share(module, listed, meant, args, kwargs) if job.timed else None
        results.append(InModel(record, [site.name for site in meant], share, notes))
    return results


def _untrained(job: ModelJob, misfits: Mapping[str, str]) -> list[str]:
    """Return which upsamplers the file of weights is not of. Raises UpbenchError where it is of none."""
    if misfits and len(misfits) == len(job.rows):
        said = "; ".join(f"{label}: {why}" for label, why in misfits.items())
        raise UpbenchError(f"--weights {job.weights}: its upsamplers are not those that stand in the model; {said}")
    names = ", ".join(misfits)
    return [f"the file of weights has other upsamplers than {names}, which have random weights"] if misfits else []


def built(
    job: ModelJob, spec: RunSpec, device: torch.device
) -> tuple[nn.Module, tuple[Any, ...], dict[str, Any], dict[str, Any]]:
    """Return the model on its device with its weights, its inputs, and what the file of weights has for upsamplers in it."""
    isolation.seed_generators(spec.input.seed)
    model = factory.build(job.model, job.arguments)
    trained = {} if job.weights is None else factory.load_weights(model, job.weights)
    model.to(device)
    if job.inputs is not None:
        args, kwargs = example_inputs.from_file(job.inputs)
    else:
        assert job.image is not None, "a job has an image size or a function that makes inputs"
        args, kwargs = example_inputs.for_image(model, job.image[0], job.image[1], job.batch, spec.input.seed)
    if device.type != "cpu":
        args, kwargs = example_inputs.to(args, device), example_inputs.to(kwargs, device)
    return model, args, kwargs, trained


def fix_proposals(model: nn.Module) -> list[str]:
    """Let a detector of torchvision keep as many proposals as it may, whatever its features, and say how many."""
    network = getattr(model, "rpn", None)
    if network is None or not hasattr(network, "nms_thresh"):
        return []
    network.nms_thresh = 1.0
    network.score_thresh = 0.0
    kept = network.post_nms_top_n()
    return [f"the number of proposals is fixed, at most {kept} an image: non-maximum suppression of proposals is off"]


def _spec(base: RunSpec, label: str) -> _Spec:
    return _Spec(**{name: getattr(base, name) for name in RunSpec.model_fields}, shown=label)


def _described(job: ModelJob, spec: RunSpec) -> dict[str, Any]:
    """Return the spec that stands in a record: the model and what is in it, and how it is measured."""
    rows = {row["label"]: row for row in job.rows}
    row = rows.get(spec.label, {})
    data = spec.to_dict()
    model = {key: value for key, value in job.to_dict().items() if key not in ("rows", "spec")}
    return {
        "upsampler": row.get("upsampler", AS_IT_IS),
        "params": dict(row.get("params", {})),
        "model": model,
        "input": {"batch": job.batch, "dtype": data["input"]["dtype"], "seed": data["input"]["seed"]},
        "measure": data["measure"],
    }
