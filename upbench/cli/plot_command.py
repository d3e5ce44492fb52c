"""`upbench plot FILE...`: a picture of results that were measured before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from upbench import conventions, metrics
from upbench.cli import completion, options, output
from upbench.cli import results as results_files
from upbench.cli.accuracy_options import AccuracyOptions, attached
from upbench.errors import OutputError, SpecError, install

if TYPE_CHECKING:
    from upbench.accuracy.sources import Sources
    from upbench.records.record import Record

FORMS = {".png": "png", ".svg": "svg", ".pdf": "pdf"}


@dataclass(frozen=True)
class PictureOptions:
    """Which picture is drawn, of which quantities, and how large."""

    kind: Annotated[
        str | None,
        typer.Option(
            metavar="axis|bubble|pareto|resolution",
            autocompletion=completion.one_of("axis", "bubble", "pareto", "resolution"),
            rich_help_panel=options.WHAT,
            help="Default: what fits the file.",
        ),
    ] = None
    metric: Annotated[
        str | None,
        typer.Option(
            autocompletion=completion.metrics,
            rich_help_panel=options.WHAT,
            help=f"What is drawn. Default: latency. Known: {', '.join(metrics.numeric())}.",
        ),
    ] = None
    axis: Annotated[
        str | None,
        typer.Option(rich_help_panel=options.WHAT, help="The axis it is drawn along; the others become lines."),
    ] = None
    x: Annotated[
        str | None,
        typer.Option(
            "--x",
            autocompletion=completion.metrics,
            rich_help_panel=options.WHAT,
            help="Of bubble and pareto: as --metric, or a published metric. Default: latency.",
        ),
    ] = None
    y: Annotated[
        str | None,
        typer.Option(
            "--y",
            autocompletion=completion.metrics,
            rich_help_panel=options.WHAT,
            help="Of bubble and pareto. Default: the first published metric, or peak-memory.",
        ),
    ] = None
    published: Annotated[
        str | None,
        typer.Option(
            metavar="PAPER/TABLE",
            autocompletion=completion.tables,
            rich_help_panel=options.WHAT,
            help="Published accuracy, as lda-aqu/table1. Default: the sweep's own.",
        ),
    ] = None
    host: options.Host = None
    convention: options.Convention = conventions.DEFAULT
    title: options.Title = None
    width: Annotated[
        float | None,
        typer.Option(
            metavar="INCHES",
            rich_help_panel=options.OUTPUT,
            help="3.5 is a column, 7 a page. Default: 3.5, of slides 5.",
        ),
    ] = None
    style: Annotated[
        str,
        typer.Option(
            metavar="paper|slides",
            autocompletion=completion.one_of("paper", "slides"),
            rich_help_panel=options.OUTPUT,
            help="slides: wide, large letters and lines, few notes.",
        ),
    ] = "paper"
    zoom: Annotated[
        bool,
        typer.Option(
            "--zoom", rich_help_panel=options.OUTPUT, help="Let axes begin where the values do, and not at 0."
        ),
    ] = False


def command(
    results: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Results files, as results/theta.jsonl.")],
    output_files: options.RequiredOutputs,
    picture: PictureOptions,
    accuracy: AccuracyOptions,
    overwrite: options.Overwrite = False,
) -> None:
    """Draw results: a metric along an axis, accuracy against cost, the Pareto front, latency against resolution."""
    forms = _judge(results, output_files, picture, overwrite)
    given = accuracy.read()

    from upbench.report.formats import render
    from upbench.report.plots import page, request
    from upbench.report.plots import picture as pictures
    from upbench.report.tables.result_set import ResultSet

    wanted = request.PlotOptions(
        request.Kind(picture.kind) if picture.kind else None,
        picture.metric,
        picture.axis,
        picture.x,
        picture.y,
        picture.published,
        picture.host,
        picture.title,
        picture.width,
        picture.style,
        picture.zoom,
    )
    plan = request.plan(ResultSet.of(_read(results, given), picture.convention), wanted)
    with page.settings(picture.style):
        drawn = pictures.draw(plan)
        data = {path: drawn.page.render(form) for path, form in forms.items()}
    for path, content in data.items():
        output.write(path, content)
    for sentence in drawn.messages:
        typer.echo(f"upbench: {sentence}", err=True)
    for table in drawn.tables:
        typer.echo(render.terminal(table), nl=False)


def _judge(
    results: Sequence[Path], output_files: Sequence[Path], picture: PictureOptions, overwrite: bool
) -> dict[Path, str]:
    """Return the format of each file. Raises SpecError with everything that keeps the picture from being drawn."""
    from upbench.report.plots import request
    from upbench.report.plots import style as styles

    mistakes: list[str] = []
    forms: dict[Path, str] = {}
    for path in output_files:
        form = FORMS.get(path.suffix.lower())
        if form is None:
            mistakes.append(f"--output {path}: a picture ends in {', '.join(FORMS)}")
            continue
        forms[path] = form
        try:
            output.check(path, form, overwrite=overwrite)
        except OutputError as error:
            mistakes.append(str(error))
    if picture.kind is not None and picture.kind not in list(request.Kind):
        mistakes.append(f"--kind {picture.kind}: is not one of {', '.join(request.Kind)}")
    if picture.style not in styles.STYLES:
        mistakes.append(f"--style {picture.style}: is not one of {', '.join(styles.STYLES)}")
    mistakes += [f"results file {path} does not exist" for path in results if not path.is_file()]
    if (lacking := _lacking()) is not None:
        mistakes.append(lacking)
    if mistakes:
        raise SpecError(mistakes)
    return forms


def _read(results: Sequence[Path], given: Sources) -> list[Record]:
    """Return the current records of results files, with accuracy; a sentence on stderr for each line that is no record."""
    from upbench.accuracy import beside
    from upbench.records import store
    from upbench.records.skipped import together

    records: list[Record] = []
    skipped: list[str] = []
    for path, contents in results_files.contents_of(results).items():
        own, unmatched = beside.attached(path, contents.records, given)
        records += own
        skipped += [*contents.skipped, *unmatched]
    for sentence in together(skipped):
        typer.echo(f"upbench: {sentence}", err=True)
    return attached(given, store.current(records))


def _lacking() -> str | None:
    """Return a sentence when matplotlib is not installed."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        return f"plot needs matplotlib, which is not installed; {install('plot')}"
    return None
