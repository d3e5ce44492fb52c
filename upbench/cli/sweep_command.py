"""`upbench sweep FILE`: every cell of a grid, a record each, and the table at the end."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from upbench import conventions
from upbench.cli import model_options, options, output, sweep_end
from upbench.cli.accuracy_options import AccuracyOptions, attached
from upbench.cli.engine_options import EngineOptions
from upbench.cli.options import RunOptions
from upbench.cli.show_options import ShowOptions, TableOptions
from upbench.cli.view_options import ViewOptions
from upbench.errors import OutputError, SpecError, known_names
from upbench.report.formats.render import ENDINGS
from upbench.sweeping.results_files import TABLES

if TYPE_CHECKING:
    from upbench.accuracy.sources import Sources
    from upbench.quality.of_sweep import OfSweep
    from upbench.records.store import Index
    from upbench.sweeping.expand import Cell, SweepSpec
    from upbench.sweeping.runner import Options, Outcome

ALWAYS = ("markdown", "csv")
SKIPPED_SHOWN = 20
GIB = 2**30
FOLDER = Path("results")
"""Where the results of a sweep lie, under its name, when no file is given."""


@dataclass(frozen=True)
class CellOptions:
    """Which cells are measured, and how long and with how much memory each of them may run."""

    fresh: options.Fresh = False
    retry: Annotated[
        str | None,
        typer.Option(
            metavar="oom,error,timeout,crashed",
            rich_help_panel=options.HOW,
            help="Measure cells again that failed so; or all.",
        ),
    ] = None
    timeout: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS", rich_help_panel=options.HOW, help="Give a cell up after so long. Default: never."
        ),
    ] = None
    memory: Annotated[
        float | None,
        typer.Option(
            metavar="GIB",
            rich_help_panel=options.HOW,
            help="What a cell may take of the host's memory. Default: 90 % of what is free.",
        ),
    ] = None
    dry_run: options.DryRun = False


def command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A sweep, as sweeps/theta.yaml.")],
    run: RunOptions,
    show: TableOptions,
    view: ViewOptions,
    cells_as: CellOptions,
    accuracy: AccuracyOptions,
    engine: EngineOptions,
    convention: options.Convention = conventions.DEFAULT,
    reference: Annotated[str | None, options.REFERENCE] = None,
) -> None:
    """Measure every cell of a grid; writes results/<name>.jsonl as it goes, then .md and .csv.

    Cells that the results file has already, with the same spec, device and versions, are not measured again. A cell
    that fails is a record with its status, and the sweep goes on; exit code 1 says that there is one.
    """
    from upbench.quality import beside_results
    from upbench.sweeping import expand
    from upbench.sweeping import reference as references
    from upbench.sweeping import runner as sweep

    chosen = sweep.Options(
        timeout_s=_positive("--timeout", cells_as.timeout, "seconds"),
        retry=_statuses(cells_as.retry),
        memory_bytes=None if (gib := _positive("--memory", cells_as.memory, "GiB")) is None else int(gib * GIB),
    )
    plan = expand.read(file)
    chosen = replace(chosen, engine=engine.merged(plan.engine))
    cells = expand.expand(plan, str(file), {**run.given(), **run.assigned()})
    model_options.check_section(plan.model, str(file))
    given = _given(plan, cells, accuracy)
    quality = beside_results.asked(plan, cells)
    view.check_of_sweep(convention, given, plan)
    if reference is not None:
        chosen = replace(chosen, reference=references.asked(reference, cells))
    named, written = _files(show)
    path = named or FOLDER / f"{plan.name}.jsonl"
    printed = replace(show, output_files=None if cells_as.dry_run else written)
    output.check_targets(replace(show, output_files=written))  # a dry run says too what a run would refuse
    if not path.parent.is_dir():
        _no_folder(path, named is None, cells_as.dry_run)
    try:
        if cells_as.dry_run:
            _preview(plan, cells, path, cells_as.fresh, chosen, printed, quality)
            return
        outcome = _measure(plan, cells, path, cells_as.fresh, chosen, given, convention, printed, view, quality)
    except KeyboardInterrupt:  # while nothing was being measured
        _say("interrupted while nothing was being measured; run the same command to go on")
        raise typer.Exit(130) from None
    if outcome.interrupted:
        raise typer.Exit(130)
    if any(status not in ("ok", "impossible") for status in outcome.status.values()):
        raise typer.Exit(1)


def _given(plan: SweepSpec, cells: Sequence[Cell], accuracy: AccuracyOptions) -> Sources:
    """Return the accuracy of the sweep's file, or that of --accuracy in its place, judged against the cells."""
    from upbench.accuracy import sources

    given = accuracy.read()
    if not given.tables and plan.given is not None:
        given = replace(given, tables=(plan.given,))
    if given.tables:
        given.check(sources.of_cells(cells))
    return given


def _files(show: ShowOptions) -> tuple[Path | None, list[Path]]:
    """Return the results file, None where none was given, and the files that the table is written to.

    Raises:
        SpecError: If several files could be the results file, or a name has an ending of neither results nor a table.
    """
    files = show.output_files or []
    results = [path for path in files if path.suffix.lower() not in ENDINGS]
    if wrong := [path for path in results if path.suffix.lower() != ".jsonl"]:
        known = ", ".join(ENDINGS)
        raise SpecError(
            [f"--output {path}: results are a .jsonl, and a table of them ends in {known}" for path in wrong]
        )
    if len(results) > 1:
        listed = ", ".join(map(str, results))
        raise SpecError([f"--output: {listed} would all be the results file; one file holds the results of a sweep"])
    given = results[0] if results else None
    beside = (
        [given.with_suffix(suffix) for suffix, form in TABLES.items() if form in (*ALWAYS, show.form)] if given else []
    )
    return given, [path for path in files if path is not given and path not in beside]


def _no_folder(path: Path, is_default: bool, dry_run: bool) -> None:
    """Make the folder of the default results file with a sentence on stderr; refuse to make one that the user named."""
    from upbench import files

    if dry_run:
        return
    if not is_default:
        files.check_folder(path)
    try:
        path.parent.mkdir(parents=True)
    except OSError as error:
        raise OutputError(
            f"the folder {path.parent} cannot be made ({error.strerror}); choose another with --output"
        ) from None
    _say(f"made the folder {path.parent} for the results")


def _preview(
    plan: SweepSpec,
    cells: Sequence[Cell],
    path: Path,
    fresh: bool,
    chosen: Options,
    printed: ShowOptions,
    quality: OfSweep | None,
) -> None:
    """Print what a run would do. Nothing is written, no folder made, nothing locked."""
    from upbench.cli.sweep_dry_run import preview
    from upbench.records import store

    store.check_appendable(path)
    known = store.Index() if fresh else _index(path, plan, cells)
    shown = preview(cells, plan.axes, plan.title or plan.name, path, known, chosen, _say)
    if quality is not None:
        from upbench.quality import beside_results

        shown = replace(shown, notes=[*shown.notes, beside_results.note(quality, path, _say)])
    output.show([shown], printed, lambda: output.rows(shown))


def _measure(
    plan: SweepSpec,
    cells: Sequence[Cell],
    path: Path,
    fresh: bool,
    chosen: Options,
    given: Sources,
    convention: str,
    printed: ShowOptions,
    view: ViewOptions,
    quality: OfSweep | None,
) -> Outcome:
    """Run the sweep, then write and print its table, which is made from the results file."""
    from upbench import files
    from upbench.accuracy import beside
    from upbench.cli.progress import Progress
    from upbench.records import store, stored
    from upbench.report.formats import render
    from upbench.report.tables import sweep as sweep_table
    from upbench.report.tables.result_set import ResultSet
    from upbench.sweeping import reference as references
    from upbench.sweeping import runner as sweep

    store.check_appendable(path)
    written = {suffix: form for suffix, form in TABLES.items() if form in (*ALWAYS, printed.form)}
    with files.locked(path):
        files.check_writable(path)
        for suffix, form in written.items():
            output.check(path.with_suffix(suffix), form, overwrite=printed.overwrite)
        beside.check(path)
        with Progress() as progress, sweep.crew(cells, chosen, None if fresh else path, _say) as crew:
            if fresh:
                _set_aside(path)
            outcome = sweep.run_cells(cells, plan, path, _index(path, plan, cells), crew, chosen, progress, _say)
        if quality is not None and not outcome.interrupted:
            from upbench.quality import beside_results

            with Progress() as progress:
                found = beside_results.measured(quality, path, fresh, progress, _say)
            given = replace(given, proxies=found)
        beside.write(path, given)
        records = attached(given, list(stored.pick(path, outcome.plan.identities).values()))
        measured, title = ResultSet(records, plan.axes, convention), plan.title or plan.name
        if records:
            tables = [sweep_table.default_table(measured, title)]
            for suffix, form in written.items():
                text = render.render(tables, form, plain=True)
                files.write_bytes(path.with_suffix(suffix), text if isinstance(text, bytes) else text.encode())
            del tables  # of many cells it is large, and so is the next
        shown = [view.table_of(measured, title)] if records else []
    try:
        if printed.wants("json") or (records and (printed.output_files or printed.form != "parquet")):
            output.show(shown, printed, lambda: json.dumps([record.to_dict() for record in records], indent=2))
    finally:  # what the files hold is said also where stdout takes no table
        if not outcome.measured and (
            sentence := references.not_taken(chosen.reference, records, cells, outcome.plan.identities)
        ):
            _say(sentence)
        _say_all(sweep_end.failures(records) if printed.told == "none" else [])
        _say_each(sweep_end.sentences(outcome, records, cells, path, tuple(written), fresh))
    return outcome


def _set_aside(path: Path) -> None:
    from upbench.sweeping import results_files

    if (before := results_files.set_aside(path)) is not None:
        _say(f"--fresh: the results of before are in {before} now")


def _index(path: Path, plan: SweepSpec, cells: Sequence[Cell]) -> Index:
    """Return the index of a results file; say which of its lines are skipped. A sweep's own file holds no other sweep."""
    from upbench.records import store
    from upbench.records.skipped import together
    from upbench.sweeping import resume

    found = store.index(path)
    _say_all(together(found.skipped))
    if path.parent == FOLDER and path.stem == plan.name:
        resume.check_same(cells, found, path)
    if sentence := resume.left_out(cells, found, path):
        _say(sentence)
    return found


def _statuses(text: str | None) -> frozenset[str]:
    from upbench.records.record import FAILED

    names = [part.strip() for part in (text or "").split(",") if part.strip()]
    if text is not None and not names:
        raise SpecError([f"--retry {text!r} names no status; known: {', '.join(FAILED)}, all"])
    wrong = [part for part in names if part not in (*FAILED, "all")]
    if wrong:
        known = (*FAILED, "all")
        raise SpecError([f"--retry {part}: unknown status; {known_names(part, known)}" for part in wrong])
    return frozenset(FAILED if "all" in names else names)


def _positive(option: str, value: float | None, unit: str) -> float | None:
    if value is not None and not 0 < value < float("inf"):
        raise SpecError([f"{option} is {value:g}, but must be a number of {unit} above 0"])
    return value


def _say_each(sentences: Iterable[str]) -> None:
    for sentence in sentences:
        _say(sentence)


def _say_all(sentences: Iterable[str]) -> None:
    listed = list(sentences)
    for sentence in listed[:SKIPPED_SHOWN]:
        _say(sentence)
    if more := listed[SKIPPED_SHOWN:]:
        _say(f"and {len(more)} lines more, the last: {more[-1]}")


def _say(sentence: str) -> None:
    typer.echo(f"upbench: {sentence}", err=True)
