"""`upbench quality A B ...`: a proxy of what upsamplers are worth, from tiny networks trained on paired seeds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from upbench.cli import completion, drafts, options, output
from upbench.cli.quality_options import ProtocolOptions
from upbench.cli.show_options import TableOptions
from upbench.errors import SpecError

if TYPE_CHECKING:
    from upbench.quality.protocol import Protocol
    from upbench.quality.study import Study


def command(
    items: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME|FILE...",
            help="Upsamplers, the base first: a name, NAME:KEY=VALUE,..., package.module:Class, or a spec file.",
            autocompletion=completion.upsamplers,
        ),
    ],
    protocol_as: ProtocolOptions,
    show: TableOptions,
    params: options.Set = None,
    reference: Annotated[str | None, options.REFERENCE] = None,
    again: Annotated[
        list[str] | None,
        typer.Option(
            "--again",
            metavar="NAME",
            rich_help_panel=options.HOW,
            help="Run this one twice a seed too, for an A/A of its own. May be repeated.",
        ),
    ] = None,
    fresh: options.Fresh = False,
    dry_run: options.DryRun = False,
) -> None:
    """Compare a proxy of quality: a tiny network is trained from scratch around each upsampler, on paired seeds.

    Writes a row a run to results/quality.jsonl, or the .jsonl given to --output, and runs only what is not there yet. The
    base is run twice a seed: what it differs from itself is the resolution of the verdicts. It is a proxy on small
    pictures, and no accuracy of any benchmark.
    """
    protocol = protocol_as.protocol()
    study = _study(items, protocol, drafts.assignments(params), reference, again or [])
    path, targets = _files(show)
    printed = _with_files(show, targets)
    output.check_targets(printed)
    try:
        if dry_run:
            _preview(study, path, fresh, printed)
        else:
            _run(study, path, fresh, printed)
    except KeyboardInterrupt:
        typer.echo(f"upbench: interrupted; {path} keeps the runs that ended, and the same command goes on", err=True)
        raise typer.Exit(130) from None


def _study(
    items: Sequence[str], protocol: Protocol, params: dict[str, object], reference: str | None, again: Sequence[str]
) -> Study:
    """Return the study, judged. Raises SpecError with all mistakes together."""
    from upbench.quality import candidates

    written = [(item, *drafts.draft(item, {}, {})) for item in items]
    each = drafts.shared_params(params, [str(data.get("upsampler")) for _, data, _ in written])
    for (_, data, _), own in zip(written, each, strict=True):
        data["params"] = {**(data.get("params") or {}), **own}
    return candidates.study(written, protocol, reference, again, ("--reference", "--again"))


def _files(show: TableOptions) -> tuple[Path, list[Path]]:
    """Return the results file, and the files that the table is written to."""
    given = show.output_files or []
    results = [path for path in given if path.suffix.lower() == ".jsonl"]
    if len(results) > 1:
        raise SpecError([f"--output: {', '.join(map(str, results))} would all be the results file; give one"])
    from upbench.quality.conduct import DEFAULT

    return results[0] if results else DEFAULT, [one for one in given if one not in results]


def _with_files(show: TableOptions, targets: list[Path]) -> TableOptions:
    from dataclasses import replace

    return replace(show, output_files=targets)


def _preview(study: Study, path: Path, fresh: bool, show: TableOptions) -> None:
    """Print what would be run and what it costs. Nothing is written."""
    from upbench.quality import conduct, tables
    from upbench.quality import study as studies

    with conduct.planned(study, path, _say, fresh) as (place, setting, _, planned):
        table = tables.dry_run(study, setting, studies.costs(study, place, planned), str(path))
    output.show([table], show, lambda: output.rows(table))


def _run(study: Study, path: Path, fresh: bool, show: TableOptions) -> None:
    """Run what is left, and print the tables."""
    from upbench.cli.progress import Progress
    from upbench.quality import conduct, tables

    with Progress() as progress:
        done = conduct.run(study, path, fresh, progress, _say)
    shown = tables.tables(study, done.setting, done.judgements(study))
    output.show(shown, show, lambda: output.rows(*shown))
    for label, error in done.failed.items():
        _say(f"{label} failed: {error}")
    left = done.runs - done.whole
    again = f"; {left} failed, and the same command tries them again" if left else ""
    _say(f"{path} holds {done.whole} of {done.runs} runs{again}")
    if left:
        raise typer.Exit(1)


def _say(sentence: str) -> None:
    typer.echo(f"upbench: {sentence}", err=True)
