"""The functions behind `import upbench`: what the command line does, on values."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from upbench import conventions, files
from upbench.accuracy import beside, on_host, sources
from upbench.accuracy.sources import Sources
from upbench.api.drafts import SOURCE, draft
from upbench.api.given import Accuracies, read_accuracy
from upbench.api.results import Comparison, Profile, Records, ResultTable
from upbench.errors import SpecError, UpbenchError, unknown
from upbench.papers import given_join
from upbench.records import store, stored
from upbench.records.record import Record
from upbench.report.formats import render
from upbench.report.tables import column_choice, heading, pivot
from upbench.report.tables.result_set import ResultSet
from upbench.report.tables.sweep import default_table, sweep_table
from upbench.session import opening
from upbench.specs import comparable, run_spec
from upbench.specs.run_spec import RunSpec
from upbench.sweeping import expand

if TYPE_CHECKING:
    from torch import Tensor, nn


def spec(
    upsampler: str | Path | Mapping[str, Any],
    shape: str | Sequence[int] | None = None,
    *,
    params: Mapping[str, Any] | None = None,
    **options: Any,
) -> RunSpec:
    """Make a complete spec: `spec("ldaaqu", shape="256x60x60", theta=5, mode="training")`.

    Args:
        upsampler: A registered name, "package.module:Class", a spec file (.yaml), or a mapping with the keys of such a file.
        shape: Shape of the low-resolution feature: "CxHxW", a named shape, or three integers. Default: that of the file or
            mapping, whose channels give way to those of a shape that is given; else that of the papers.
        params: Parameters of the upsampler whose names are also names of an option.
        options: Keys of a spec (scale, guide_channels, and those of input and measure, as batch, dtype, mode, threads and
            budget in seconds), and parameters of the upsampler.

    Returns:
        The spec, validated, with every value filled in.

    Raises:
        SpecError: If anything is wrong with it; holds all mistakes together.
    """
    return run_spec.load(*draft(upsampler, shape, params, options))


def profile(
    upsampler: RunSpec | str | Path | Mapping[str, Any] | nn.Module, *inputs: Tensor, **options: Any
) -> Profile:
    """Measure one upsampler: `profile("ldaaqu", shape="256x60x60")`, `profile(spec)` or `profile(module, x)`.

    Args:
        upsampler: A spec, anything that `spec` accepts, or a module instance.
        inputs: The tensors that a module instance is called with; none for a spec.
        options: Options of `spec`; for a module instance mode, threads, budget in seconds, device, compile and seed.

    Returns:
        The record. Its `spec` is None for a module instance.

    Raises:
        UpbenchError: If a value is wrong, or the module cannot be built or called.
    """
    torch = sys.modules.get("torch")  # no module of torch's without torch
    if torch is not None and isinstance(upsampler, torch.nn.Module):
        from upbench.api import handed_in

        return Profile.of(handed_in.profile(upsampler, inputs, **options))
    if inputs:
        raise SpecError(["inputs are given to a module instance only; a spec says which are made: shape, dtype, seed"])
    one = _specs([upsampler], options)[0]
    with opening.opened([one]) as session:
        session.validate([one])
        return Profile.of(*session.compare([one]))


def compare(
    *upsamplers: RunSpec | str | Path | Mapping[str, Any] | Sequence[RunSpec | str],
    reference: str | None = None,
    timed: bool = True,
    accuracy: Accuracies = (),
    with_published: str | None = None,
    cache: bool = True,
    **options: Any,
) -> Comparison:
    """Measure several upsamplers side by side, in interleaved rounds: `compare("ldaaqu", "carafe", shape="64x32x32")`.

    Args:
        upsamplers: Specs, or anything that `spec` accepts. A key that one of them leaves open, as its shape, is taken from
            the first that has it.
        reference: Label or name of the upsampler that ratios of latency are taken to. Default: the first.
        timed: False measures only what is exact, and leaves latency None.
        accuracy: Your own accuracy beside the cost: a CSV or YAML file, rows as mappings, or a list of files.
        with_published: A host model, as "faster-rcnn-r50"; upsamplers with published accuracy in it are measured too.
        cache: Whether kept results of checks are used where an upsampler returns the same bits again.
        options: Options of `spec`, for all upsamplers that are no complete specs.

    Returns:
        The records, in the order of the upsamplers.

    Raises:
        UpbenchError: If a value is wrong, or an upsampler cannot be built or called, or its output is wrong: no speed is
            reported then.
    """
    listed = [one for each in upsamplers for one in (each if isinstance(each, list | tuple) else [each])]
    given = read_accuracy(accuracy, with_published)
    count = len(listed)
    listed += [] if given.host is None else on_host.upsamplers(given.host)
    specs = _specs(listed, options)
    if not count:
        raise SpecError(["nothing to compare; give names or specs"])
    specs = [one for n, one in enumerate(specs) if n < count or one not in specs[:count]]
    if mistakes := comparable.mistakes([(s.label, comparable.of_spec(s)) for s in specs], False):
        raise SpecError(mistakes)
    place = _reference(reference, specs)
    given.check([given_join.place(one.label, {}, one.to_dict()) for one in specs])
    with opening.opened(specs) as session:
        session.validate(specs)
        checked = session.check(specs, cache=cache)
        if red := [one for one in checked.checks if not one.passed]:
            raise UpbenchError("; ".join(f"{one.upsampler} failed the check {one.name}: {one.detail}" for one in red))
        measured = [checked.without_digest(record) for record in session.compare(specs, timed=timed)]
    records, _ = given.attached(measured)
    return Comparison(records, records[place])


def sweep(
    plan: str | Path,
    output: str | Path | None = None,
    *,
    fresh: bool = False,
    retry: Sequence[str] = (),
    timeout_s: float | None = None,
    memory_bytes: int | None = None,
    reference: str | None = None,
    engine: str | None = None,
    address: str | None = None,
    on: str | None = None,
    **options: Any,
) -> Records:
    """Measure every cell of a sweep that its results file does not have: `sweep("sweeps/theta.yaml", budget=0.5)`.

    Cells run in a worker process, which is replaced when it dies; a cell that fails is a record with its status.

    Args:
        plan: The file of the sweep.
        output: The results file. Default: results/NAME.jsonl. Its tables .md and .csv are written into the same folder.
        fresh: Whether all cells are measured again, into a new file.
        retry: Statuses (oom, error, timeout, crashed) of cells that are measured again.
        timeout_s: Seconds after which a cell is given up.
        memory_bytes: Bytes of the host's memory that a cell may take.
        reference: The cell that latencies are set against, as "theta=11". Default: the sweep's base.
        engine: Where cells run: "local", or "ray" for a Ray cluster. Default: what the file says.
        address: Of the cluster: "auto", "HOST:PORT", or "local" for one of this machine alone.
        on: Text that the kind of machine must contain, as "H100".
        options: Keys of a spec, which override those of the file.

    Returns:
        The records of all cells.

    Raises:
        UpbenchError: If something is wrong with the file or a value.
    """
    from upbench.quality import beside_results
    from upbench.sweeping import reference as references
    from upbench.sweeping import results_files, runner
    from upbench.sweeping.engines import choice

    messages: list[str] = []
    read_plan = expand.read(Path(plan))
    cells = expand.expand(read_plan, str(plan), options)
    path = Path(output) if output is not None else Path("results") / f"{read_plan.name}.jsonl"
    if output is None:
        path.parent.mkdir(exist_ok=True)
    number = None if reference is None else references.asked(reference, cells)
    quality = beside_results.asked(read_plan, cells)
    where = choice.merged(read_plan.engine, engine, address, on)
    runner_options = runner.Options(timeout_s, frozenset(retry), memory_bytes, reference=number, engine=where)
    if read_plan.given is not None:
        Sources((read_plan.given,)).check(sources.of_cells(cells))
    store.check_appendable(path)
    with files.locked(path), runner.crew(cells, runner_options, path, messages.append) as crew:
        if fresh and (before := results_files.set_aside(path)) is not None:
            messages.append(f"the results of before are in {before} now")
        known = store.index(path)
        outcome = runner.run_cells(
            cells, read_plan, path, known, crew, runner_options, lambda *said: None, messages.append
        )
        given = Sources(() if read_plan.given is None else (read_plan.given,))
        if quality is not None and not outcome.interrupted:
            scores = beside_results.measured(quality, path, fresh, lambda what, part: None, messages.append)
            given = Sources(given.tables, proxies=scores)
        beside.write(path, given)
        records, unmatched = given.attached(list(stored.pick(path, outcome.plan.identities).values()))
        if records:
            result = default_table(ResultSet(records, read_plan.axes), read_plan.title or read_plan.name)
            files.write_text(path.with_suffix(".md"), render.markdown(result))
            files.write_text(path.with_suffix(".csv"), render.csv(result))
    if outcome.interrupted:
        raise KeyboardInterrupt
    return Records(records, [*known.skipped, *messages, *unmatched])


def read(*paths: str | Path) -> Records:
    """Read results files: the last record of every cell.

    Args:
        paths: The files.

    Returns:
        The records; lines that are no record are described in `skipped`.

    Raises:
        StoreError: If a file does not exist, or is no results file.
    """
    records: list[Record] = []
    skipped: list[str] = []
    for path in dict.fromkeys(map(Path, paths)):
        contents = stored.read(path)
        own, unmatched = beside.attached(path, contents.records)
        skipped += [*contents.skipped, *unmatched]
        records += own
    found = {(record.place, repr(record.axes)): record for record in records}
    return Records(list(found.values()), skipped)


def table(
    records: Sequence[Record],
    columns: str | None = None,
    *,
    heads: Mapping[str, str] | None = None,
    base: str | None = None,
    across: str | None = None,
    convention: str = conventions.DEFAULT,
    accuracy: Accuracies = (),
    with_published: str | None = None,
) -> ResultTable:
    """Make a table of records: `table(read("results/theta.jsonl"), columns="params,latency", base="theta=11")`.

    Args:
        records: The result of `read`, `sweep` or `compare`, or a list of profiles.
        columns: Names of quantities with commas between them, as in `upbench table --columns`.
        heads: Name of a quantity or axis -> the head of its column, as {"latency": "Time", "kernel": "$k$"}.
        base: The row that differences are taken to: AXIS=VALUE,... or a label.
        across: The axis whose values become columns, for a table of one quantity.
        convention: How MACs and parameters are added up, as "F3,P0".
        accuracy: Your own accuracy: a CSV or YAML file, rows as mappings, or a list of files.
        with_published: A host model whose published accuracy is shown, as "faster-rcnn-r50".

    Raises:
        UpbenchError: If a name is not known, there are no records, or the accuracy does not fit them.
    """
    listed = list(records.records if isinstance(records, Records) else records)
    if not listed:
        raise UpbenchError("there are no records to make a table of")
    results = ResultSet.of(read_accuracy(accuracy, with_published).attached(listed)[0], convention, base)
    picked = column_choice.pick(
        columns or ("latency" if across else "published,given,params,macs,latency,interval,peak-memory"), results
    )
    title = Records(listed).title
    known = heading.parse(heads, heading.known(results))
    made = pivot.pivot_table(results, title, picked, across) if across else sweep_table(results, title, picked)
    return ResultTable(heading.headed(made, known))


def run(spec: RunSpec) -> Profile:
    """Measure one spec. Deprecated: `profile` does the same.

    Args:
        spec: The spec.
    """
    warnings.warn(
        "upbench.run(spec) is now upbench.profile(spec); the old name works for one more version",
        DeprecationWarning,
        stacklevel=2,
    )
    return profile(spec)


def _specs(items: Sequence[Any], options: Mapping[str, Any]) -> list[RunSpec]:
    """Return the specs of all items; a key that one leaves open is taken from another. Raises SpecError with all mistakes."""
    if options and items and all(isinstance(item, RunSpec) for item in items):
        raise SpecError(
            [f"{key} is given beside specs that are complete; give it to upbench.spec instead" for key in options]
        )
    options = dict(options)
    shape, params = options.pop("shape", None), options.pop("params", None)
    drafts: list[tuple[dict[str, Any], str]] = []
    for item in items:
        if isinstance(item, RunSpec):
            drafts.append((item.to_dict(), SOURCE))
        elif isinstance(item, str | Path | Mapping):
            drafts.append(draft(item, shape, params, options))
        else:
            kind = type(item).__name__
            raise SpecError([f"an upsampler is a name, a spec, a file or a mapping, but {kind} was given"])
    if len(drafts) > 1:
        comparable.share([data for data, _ in drafts])
    specs: list[RunSpec] = []
    mistakes: list[str] = []
    for item, (data, source) in zip(items, drafts, strict=True):
        try:
            specs.append(item if isinstance(item, RunSpec) else run_spec.load(data, source))
        except SpecError as error:
            mistakes += error.mistakes
    if mistakes:
        raise SpecError(list(dict.fromkeys(mistakes)))
    return specs


def _reference(name: str | None, specs: Sequence[RunSpec]) -> int:
    """Return the position of the spec with this label or name; the first when no name was given."""
    if name is None:
        return 0
    places = [n for n, one in enumerate(specs) if name in (one.label, one.upsampler)]
    if not places:
        raise unknown("reference", name, [one.label for one in specs])
    return places[0]
