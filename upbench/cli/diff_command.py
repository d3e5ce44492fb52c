"""`upbench diff OLD NEW`: what changed between two result files, whichever command wrote them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from upbench.cli import gates, options, output
from upbench.errors import SpecError, StoreError

if TYPE_CHECKING:
    from upbench.gate.measured import Measured


def _schema(asked: bool) -> None:
    """Print the JSON Schema of --format json, and end."""
    if asked:
        from upbench.report import gate_documents

        typer.echo(gate_documents.of_diff())
        raise typer.Exit


def command(
    old: Annotated[Path, typer.Argument(metavar="OLD", help="Results of a sweep, compare --format json, or baseline.")],
    new: Annotated[Path, typer.Argument(metavar="NEW", help="The same, measured later.")],
    tolerance: Annotated[
        list[str] | None, typer.Option(metavar="METRIC=PERCENT|off", help="As peak-memory=1%; exact metrics have none.")
    ] = None,
    threshold: Annotated[str, typer.Option(metavar="PERCENT", help="Slowdown that counts.")] = "5%",
    strict: Annotated[bool, typer.Option("--strict", help="What is unsure, or only in NEW, fails.")] = False,
    junit: Annotated[
        Path | None, typer.Option("--junit", metavar="FILE", help="Write the findings as JUnit XML.")
    ] = None,
    form: options.Formatted = options.Format.table,
    output_file: options.Output = None,
    schema: Annotated[
        bool, typer.Option("--schema", callback=_schema, is_eager=True, help="Print the JSON Schema of --format json.")
    ] = False,
) -> None:
    """Compare two result files: exact metrics exactly, latency only beside a common reference on one machine.

    Exit code 1 when something became larger, slower or another output.
    """
    asked = gates.Asked([], [], None, tolerance or [], None, None, None, None, None, threshold, False, strict, junit)
    judged = gates.read(asked, [], [])
    output.check(output_file)
    mistakes, sides = [], []
    for path in (old, new):
        try:
            sides.append(_load(path))
        except StoreError as error:
            mistakes.append(str(error))
    if not mistakes:
        mistakes = _of_other_work(sides, old, new)
    if mistakes:
        raise SpecError(mistakes)

    from upbench.gate import diff
    from upbench.report import gate_documents
    from upbench.report.tables import gates as gates_page

    before, after = (str(old), str(new)) if old.name == new.name else (old.name, new.name)
    found = diff.compare(sides[0], sides[1], judged.rules("diff", before, after))
    table = gates_page.table(found, strict, f"{after} compared with {before}")
    if form is options.Format.json:
        output.emit(gate_documents.difference(str(old), str(new), found, strict), output_file)
    else:
        output.emit(output.render(table, form), output_file)
    gates.tell(found, asked, [])


def _of_other_work(sides: Sequence[Sequence[Measured]], old: Path, new: Path) -> list[str]:
    """A sentence where the two files have no work in common, so that nothing could be compared."""
    from upbench import comparable

    before, after = ([w for m in side if (w := comparable.of_mapping(m.spec)) is not None] for side in sides)
    if not before or not after or set(before) & set(after):
        return []
    return [f"{comparable.differ(str(old), before[0], str(new), after[0])}; only results of the same work are compared"]


def _load(path: Path) -> list[Measured]:
    """What a file holds, told by its content. Raises StoreError when that is nothing of upbench."""
    from upbench import documents, store
    from upbench.gate import baseline, measured

    if (data := documents.json_of(path)) is not None and baseline.is_baseline(data):
        return baseline.from_data(data, str(path))
    contents = store.read(path)
    for sentence in contents.skipped:
        typer.echo(f"upbench: {sentence}", err=True)
    if not contents.records:
        raise StoreError(
            f"results file {path} holds no record; give results of a sweep, of compare --format json, or a baseline"
        )
    sides = contents.compared or [(contents.records, None)]
    return [one for records, reference in sides for one in measured.from_records(records, reference)]
