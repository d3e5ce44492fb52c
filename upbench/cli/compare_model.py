"""`upbench compare ... --model`: what upsamplers cost in a whole model that is really run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from upbench.cli import backends, drafts, interrupts, model_options, options, output, upsampler_patterns
from upbench.cli.model_options import InModel
from upbench.cli.options import RunOptions
from upbench.cli.show_options import ShowOptions
from upbench.errors import SpecError, unknown

if TYPE_CHECKING:
    from upbench.models import job as jobs
    from upbench.models.job import ModelJob

NO_RUNTIME = "which is timed in torch; `upbench export --model` writes it to a file, and `upbench deploy` times upsamplers alone in other runtimes"
"""Why a model has no runtime."""
REFUSED = (
    "shape",
    "scale",
    "guide_channels",
    "dtype",
    "memory_format",
    "compile",
    "runtime",
    "offsets",
    "output_size",
    "guide_size",
)
"""Options that are of one upsampler on one input, not of a model."""


@dataclass(frozen=True)
class ModelOptions(InModel):
    """Which model, which of its upsampling calls, its arguments, inputs and weights."""

    weights: options.Weights = None

    @property
    def mentioned(self) -> bool:
        """Whether any option was given."""
        return any((self.model, self.where, self.model_arg, self.model_input, self.weights))


def compare(
    items: Sequence[str],
    run_options: RunOptions,
    wanted: ModelOptions,
    image: str | None,
    show: ShowOptions,
    reference: str | None,
    timed: bool = True,
) -> None:
    """Measure the model as it is and with each upsampler, and print what it costs.

    Args:
        items: The upsamplers as typed.
        run_options: Options that are keys of a spec.
        wanted: The model and its calls.
        image: Size of the image.
        show: Format and file of the result.
        reference: Label of the row that latencies are divided by; None for the model as it is.
        timed: False for what is exact alone.
    """
    job = replace(_job(items, run_options, wanted, image), timed=timed)
    labels = _labels(job)
    if reference is not None and reference not in labels:
        raise unknown("reference", reference, labels)
    output.check_targets(show)

    from upbench.cli.progress import Progress
    from upbench.report.tables import in_model
    from upbench.session import opening
    from upbench.specs import run_spec

    spec = run_spec.load(job.spec)
    modules = [path.partition(":")[0] for path in (job.model, *(row["upsampler"] for row in job.rows)) if ":" in path]
    with opening.opened([spec], modules) as session, Progress() as progress:
        found = session.compare_in_model(job, progress)
    place = 0 if reference is None else labels.index(reference)
    table = in_model.comparison(found, _title(job), place)
    output.show([table], show, lambda: _document(job, found, place))
    interrupts.say_and_end([one.record for one in found], show)


def _labels(job: ModelJob) -> list[str]:
    from upbench.models.job import AS_IT_IS

    return [AS_IT_IS, *(row["label"] for row in job.rows)]


def _job(items: Sequence[str], run_options: RunOptions, wanted: ModelOptions, image: str | None) -> ModelJob:
    """Return the job of the options. Raises SpecError with all mistakes."""
    from upbench.models.job import ModelJob
    from upbench.specs import run_spec

    if wanted.model is None:
        raise SpecError(wanted.lone({"--weights": wanted.weights}))
    options = run_options.given(but=["backend"])
    mistakes = [
        f"--{key.replace('_', '-')}: cannot be given with --model, {NO_RUNTIME if key == 'runtime' else 'whose maps have their own'}; leave it out"
        for key in REFUSED
        if key in options
    ]
    if (image is None) == (wanted.model_input is None):
        mistakes.append("a model needs inputs: give --input HEIGHTxWIDTH or --model-input FILE:FUNCTION, one of them")
    if wanted.model_input is not None and "batch" in options:
        mistakes.append(
            "--batch: cannot be given with --model-input, whose inputs have a batch of their own; leave it out"
        )
    if mistakes:
        raise SpecError(mistakes)
    rows = [row for item in upsampler_patterns.expand(items)[0] for row in _rows(item, wanted.model, run_options)]
    labels = [row["label"] for row in rows]
    if twice := sorted({label for label in labels if labels.count(label) > 1}):
        raise SpecError([f"{', '.join(twice)}: given twice; leave one out"])
    kept = {key: value for key, value in options.items() if key != "batch"}
    spec = run_spec.load(drafts.draft("nearest", kept, {})[0], drafts.SOURCE).to_dict()
    return ModelJob(
        wanted.model,
        rows,
        spec,
        drafts.assignments(wanted.model_arg, "--model-arg"),
        None if wanted.weights is None else str(Path(wanted.weights).resolve()),
        None if image is None else model_options.size(image),
        wanted.model_input,
        options.get("batch", 1),
        wanted.where or None,
    )


def _rows(item: str, model: str, run_options: RunOptions) -> list[dict[str, Any]]:
    """Return the rows of one upsampler as typed, one for each backend."""
    from upbench.specs import run_spec

    if drafts.is_file(item):
        raise SpecError([f"{item}: a spec file has a shape of its own; with --model write NAME or NAME:KEY=VALUE"])
    data, source = drafts.draft(item, {}, {})
    name = str(data.get("upsampler"))
    (own,) = drafts.shared_params(run_options.assigned(), [name])
    data["params"] = {**(data.get("params") or {}), **own}
    found = []
    for one in backends.spread(data, backends.parse(run_options.backend)):
        judged = run_spec.load(
            {**one, "model": {"name": model, "input": "1x1"}}, source
        )  # params are judged at the sites
        backend = judged.measure.backend
        given = {key: judged.params[key] for key in one["params"]}
        label = name + "".join(f" {key}={value}" for key, value in given.items())
        label += f" {backend}" if run_options.backend and "," in run_options.backend else ""
        found.append({"label": label, "upsampler": name, "params": given, "backend": backend})
    return found


def _title(job: ModelJob) -> str:
    size = f"image {job.image[0]}x{job.image[1]}" if job.image else f"inputs of {job.inputs}"
    mode = job.spec["measure"]["mode"]
    threads = job.spec["measure"]["threads"]
    many = "" if threads is None else f", {threads} thread{'s' if threads != 1 else ''}"
    return f"{job.model}: {size}, batch {job.batch}, {mode}{many}"


def _document(job: ModelJob, found: Sequence[jobs.InModel], reference: int) -> str:
    """Return the JSON of a comparison in a model."""
    from upbench.report import json_documents
    from upbench.report.tables import columns

    records = [one.record for one in found]
    result = {
        "schema": json_documents.SCHEMA,
        "model": {key: value for key, value in job.to_dict().items() if key not in ("rows", "spec")},
        "reference": records[reference].label,
        "latency_ratios": [vars(columns.paired(r, records[reference])) if r.latency else None for r in records],
        "verdicts": [columns.verdict(r, records[reference]) for r in records],
        "sites": list(found[0].sites),
        "shares": [one.share for one in found],
        "records": [r.to_dict() for r in records],
    }
    return json.dumps(result, indent=2)
